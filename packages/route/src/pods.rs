//! What a PodList of kubelet says about routes. It reads the few fields that count, and never the clock or the network.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

/// Names the hosts that a pod answers for, with commas between them.
pub(crate) const HOST: &str = "lepton.route/host";
/// Names its port; without it the first port of its containers counts.
pub(crate) const PORT: &str = "lepton.route/port";
/// Names what it speaks: `http1` (also when it is not given) or `h2c`.
pub(crate) const PROTOCOL: &str = "lepton.route/protocol";

/// What an instance speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2 without TLS, by prior knowledge.
    H2c,
}

/// A pod that wants requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// Of the pod: another one under the same name has another.
    pub(crate) uid: String,
    /// `NAMESPACE/NAME`.
    pub(crate) name: String,
    /// Host names in lower case, some with `*.` before them.
    pub(crate) hosts: Vec<String>,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it speaks.
    pub(crate) protocol: Protocol,
}

/// What a list says of one pod with a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It takes requests.
    Ready(Instance),
    /// It takes none now; it may have done so before.
    Unready {
        /// Of the pod.
        uid: String,
        /// Its host names.
        hosts: Vec<String>,
    },
    /// It is being ended.
    Leaving {
        /// Of the pod.
        uid: String,
        /// Its host names.
        hosts: Vec<String>,
    },
}

/// What a list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Pods with a route.
    pub(crate) seen: Vec<Seen>,
    /// A sentence for each annotation that means nothing.
    pub(crate) problems: Vec<String>,
}

#[derive(Deserialize)]
struct PodList<'a> {
    // Go writes an empty list as null.
    #[serde(borrow, default)]
    items: Option<Vec<Pod<'a>>>,
}

#[derive(Deserialize)]
struct Pod<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Spec<'a>,
    #[serde(borrow, default)]
    status: Status<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow, default)]
    uid: Cow<'a, str>,
    #[serde(default)]
    annotations: Option<Annotations>,
    #[serde(borrow, default)]
    deletion_timestamp: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "lepton.route/host")]
    host: Option<String>,
    #[serde(rename = "lepton.route/port")]
    port: Option<String>,
    #[serde(rename = "lepton.route/protocol")]
    protocol: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(borrow, default)]
    containers: Vec<Container<'a>>,
}

#[derive(Deserialize)]
struct Container<'a> {
    #[serde(borrow, default)]
    ports: Option<Vec<Port<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Port<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    container_port: u16,
    #[serde(borrow, default)]
    protocol: Cow<'a, str>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status<'a> {
    #[serde(borrow, default)]
    conditions: Option<Vec<Condition<'a>>>,
    #[serde(rename = "podIP", default)]
    pod_ip: Option<IpAddr>,
    #[serde(rename = "podIPs", default)]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    status: Cow<'a, str>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: IpAddr,
}

/// Reads a PodList in JSON.
pub(crate) fn read(json: &[u8]) -> Result<Reading, serde_json::Error> {
    let list: PodList<'_> = serde_json::from_slice(json)?;
    let mut reading = Reading::default();
    for pod in list.items.into_iter().flatten() {
        let Some(annotations) = &pod.metadata.annotations else { continue };
        let Some(text) = &annotations.host else { continue };
        let (hosts, bad) = host_names(text);
        let mut problem = |what: fmt::Arguments<'_>| {
            reading.problems.push(format!("pod {}/{}: {what}", pod.metadata.namespace, pod.metadata.name));
        };
        for host in bad {
            problem(format_args!("{HOST}: {host:?} is no host name such as app.example or *.example"));
        }
        if hosts.is_empty() {
            continue;
        }
        match pod.target(annotations) {
            Ok(Some((address, protocol))) => reading.seen.push(Seen::Ready(Instance {
                uid: pod.metadata.uid.into_owned(),
                name: format!("{}/{}", pod.metadata.namespace, pod.metadata.name),
                hosts,
                address,
                protocol,
            })),
            Ok(None) if pod.metadata.deletion_timestamp.is_some() => {
                reading.seen.push(Seen::Leaving { uid: pod.metadata.uid.into_owned(), hosts });
            }
            Ok(None) => reading.seen.push(Seen::Unready { uid: pod.metadata.uid.into_owned(), hosts }),
            Err(message) => problem(format_args!("{message}")),
        }
    }
    Ok(reading)
}

impl Pod<'_> {
    /// Where it takes requests, if it does now.
    fn target(&self, annotations: &Annotations) -> Result<Option<(SocketAddr, Protocol)>, String> {
        let port = self.port(annotations.port.as_deref())?;
        let protocol = match annotations.protocol.as_deref() {
            None | Some("http1") => Protocol::Http1,
            Some("h2c") => Protocol::H2c,
            Some(other) => return Err(format!("{PROTOCOL}: {other:?} is neither http1 nor h2c")),
        };
        let is_ready =
            self.status.conditions.iter().flatten().any(|it| it.kind == "Ready" && it.status == "True");
        if !is_ready || self.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let first = self.status.pod_ips.iter().flatten().map(|it| it.ip).next();
        Ok(self.status.pod_ip.or(first).map(|ip| (SocketAddr::new(ip, port), protocol)))
    }

    fn port(&self, wanted: Option<&str>) -> Result<u16, String> {
        let ports = || self.spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
        match wanted {
            None => {
                let first = ports().find(|port| matches!(&*port.protocol, "" | "TCP"));
                first.map(|port| port.container_port).ok_or_else(|| {
                    format!("no container names a port: give it the annotation {PORT} or a containerPort")
                })
            }
            Some(text) => {
                let named = ports().find(|port| port.name == text).map(|port| port.container_port);
                let port = text.parse().ok().filter(|port| *port != 0).or(named);
                port.ok_or_else(|| {
                    format!("{PORT}: {text:?} is neither a port nor the name of a container's port")
                })
            }
        }
    }
}

/// The names in an annotation, and what is none.
fn host_names(text: &str) -> (Vec<String>, Vec<&str>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<lepton_config::RouteHost>() {
            Ok(host) if good.iter().any(|known| known == host.as_str()) => {}
            Ok(host) => good.push(host.as_str().to_owned()),
            Err(_) => bad.push(part),
        }
    }
    (good, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by kubelet's own types; see the head of tests/router.rs.
    const RECORD: &[u8] = include_bytes!("../tests/pods.json");

    #[test]
    fn a_list_as_kubelet_writes_it() {
        let reading = read(RECORD).unwrap();
        let ready: Vec<(&str, String, Vec<&str>)> = reading
            .seen
            .iter()
            .filter_map(|seen| match seen {
                Seen::Ready(it) => {
                    Some((&*it.name, it.address.to_string(), it.hosts.iter().map(String::as_str).collect()))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            ready,
            [
                ("default/web-1-edge-1", "10.85.0.4:8080".to_owned(), vec!["app.example", "*.app.example"]),
                ("default/web-2-edge-1", "10.85.0.5:9090".to_owned(), vec!["app.example"]),
                ("default/six-edge-1", "[fd00:85::7]:8080".to_owned(), vec!["six.example"]),
            ]
        );
        let others: Vec<&Seen> = reading.seen.iter().filter(|seen| !matches!(seen, Seen::Ready(_))).collect();
        let hosts = || vec!["app.example".to_owned()];
        assert_eq!(
            others,
            [
                &Seen::Unready { uid: "0f2c5c1e0d3b4a79b8f0f5b5d6f4a003".to_owned(), hosts: hosts() },
                &Seen::Leaving { uid: "0f2c5c1e0d3b4a79b8f0f5b5d6f4a004".to_owned(), hosts: hosts() },
            ]
        );
        assert_eq!(reading.problems, Vec::<String>::new());
    }

    fn one(annotations: &str, spec: &str) -> Reading {
        let json = format!(
            r#"{{"items":[{{"metadata":{{"name":"a","namespace":"n","uid":"u","annotations":{annotations}}},"spec":{spec},
            "status":{{"podIP":"10.0.0.1","conditions":[{{"type":"Ready","status":"True"}}]}}}}]}}"#
        );
        read(json.as_bytes()).unwrap()
    }

    #[test]
    fn ports() {
        let spec = r#"{"containers":[{"ports":[{"containerPort":53,"protocol":"UDP"},{"name":"web","containerPort":81}]}]}"#;
        let port = |annotation: &str| {
            let annotations = format!(r#"{{"lepton.route/host":"a.example"{annotation}}}"#);
            match one(&annotations, spec).seen.first() {
                Some(Seen::Ready(instance)) => instance.address.port(),
                _ => 0,
            }
        };
        assert_eq!(port(""), 81, "UDP is no HTTP");
        assert_eq!(port(r#","lepton.route/port":"8080""#), 8080);
        assert_eq!(port(r#","lepton.route/port":"web""#), 81);
        assert_eq!(port(r#","lepton.route/port":"other""#), 0);
        assert_eq!(port(r#","lepton.route/port":"0""#), 0);
    }

    #[test]
    fn mistakes_are_said_and_left_out() {
        let spec = r#"{"containers":[{"name":"c"}]}"#;
        let said = |annotations: &str| one(annotations, spec).problems.join("; ");
        assert!(said(r#"{"lepton.route/host":"a.example"}"#).contains("no container names a port"));
        assert!(said(r#"{"lepton.route/host":"a b,c.example","lepton.route/port":"1"}"#).contains("\"a b\""));
        assert!(
            said(r#"{"lepton.route/host":"c","lepton.route/port":"1","lepton.route/protocol":"spdy"}"#)
                .contains("spdy")
        );
        assert_eq!(said(r#"{"lepton.route/host":"","other":"x"}"#), "", "an empty list of names is no route");
    }

    #[test]
    fn no_pods() {
        for json in [r#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}"#, r#"{"items":[]}"#]
        {
            assert_eq!(read(json.as_bytes()).unwrap(), Reading::default());
        }
        assert!(read(b"Unauthorized").is_err());
    }
}
