//! The manifest of one pod: what must be right before kubelet is asked, and what a route adds to it.

use serde_json::{Map, Value, json};

use crate::yaml::{self, BadYaml};

/// Where requests for a host name go; the proxy reads it.
const ROUTE_HOST: &str = "lepton.route/host";
const ROUTE_PORT: &str = "lepton.route/port";
/// Time for the proxy to leave a pod alone before its programs are told to end.
const DRAIN_SECONDS: u64 = 2;
/// What a pod has unless it says otherwise.
const DEFAULT_GRACE_SECONDS: u64 = 30;
/// The classes that every cluster has.
const CRITICAL: [(&str, u32); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];
/// RFC 1123.
const MAX_SUBDOMAIN: usize = 253;
const MAX_LABEL: usize = 63;

/// Why a text is not the manifest of a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPod {
    /// No YAML.
    #[error(transparent)]
    Yaml(#[from] BadYaml),
    /// Something else than a pod.
    #[error("it is {found}, not a Pod with apiVersion: v1")]
    Kind {
        /// Its kind, as far as it says one.
        found: String,
    },
    /// A field is missing or has a value that it cannot have.
    #[error("{field}: {message}")]
    Field {
        /// The path of the field.
        field: String,
        /// What is wrong with it.
        message: String,
    },
}

/// A route of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route<'a> {
    /// Name of the host.
    pub host: &'a str,
    /// Port of the pod; that of its first container port unless given.
    pub port: Option<u16>,
}

/// A manifest that is right as far as it can be seen here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    value: Map<String, Value>,
    name: String,
    namespace: String,
}

impl Pod {
    /// Reads a manifest, YAML or JSON.
    pub fn parse(text: &str) -> Result<Self, BadPod> {
        let Value::Object(value) = yaml::parse(text)? else {
            return Err(BadPod::Kind { found: "no mapping".to_owned() });
        };
        let word = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("nothing");
        if (word("kind"), word("apiVersion")) != ("Pod", "v1") {
            let found = format!("{} with apiVersion: {}", word("kind"), word("apiVersion"));
            return Err(BadPod::Kind { found });
        }
        let metadata = value.get("metadata").and_then(Value::as_object);
        let meta = |key: &str| metadata.and_then(|metadata| metadata.get(key));
        let name = text_of(meta("name"), "metadata.name")?;
        if !is_subdomain(name) {
            return Err(field("metadata.name", format!("{name:?} is not a name: {SUBDOMAIN}")));
        }
        let namespace = match meta("namespace") {
            None | Some(Value::Null) => "default",
            given => text_of(given, "metadata.namespace")?,
        };
        if !is_label(namespace) {
            return Err(field("metadata.namespace", format!("{namespace:?} is not a name: {SUBDOMAIN}")));
        }
        let (name, namespace) = (name.to_owned(), namespace.to_owned());
        check_containers(&value)?;
        let mut pod = Self { value, name, namespace };
        pod.set_priority();
        if let Some(host) = pod.annotation(ROUTE_HOST).map(str::to_owned) {
            let port = pod.annotation(ROUTE_PORT).map(parse_port).transpose()?;
            pod.set_route(Route { host: &host, port })?;
        }
        Ok(pod)
    }

    /// Reads a manifest that comes with a route.
    pub fn with_route(text: &str, route: Option<Route<'_>>) -> Result<Self, BadPod> {
        let mut pod = Self::parse(text)?;
        if let Some(route) = route {
            pod.set_route(route)?;
        }
        Ok(pod)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The manifest as JSON; the same pod gives the same text.
    pub fn to_json(&self) -> String {
        let mut text = Value::Object(self.value.clone()).to_string();
        text.push('\n');
        text
    }

    /// Gives the pod a route: annotations for the proxy, and time for it before the pod's programs end.
    pub fn set_route(&mut self, route: Route<'_>) -> Result<(), BadPod> {
        let Some(port) = route.port.or_else(|| self.first_port()) else {
            return Err(field(
                "spec.containers",
                "no container has ports: say which port the route leads to",
            ));
        };
        let metadata = self.value.entry("metadata").or_insert_with(|| json!({}));
        let annotations = metadata.as_object_mut().map(|map| map.entry("annotations").or_insert(Value::Null));
        if let Some(annotations) = annotations {
            if annotations.is_null() {
                *annotations = json!({});
            }
            let Some(map) = annotations.as_object_mut() else {
                return Err(field("metadata.annotations", "a mapping is needed"));
            };
            map.insert(ROUTE_HOST.to_owned(), route.host.into());
            map.insert(ROUTE_PORT.to_owned(), port.to_string().into());
        }
        self.add_drain();
        Ok(())
    }

    /// Writes out the priority of Kubernetes' own classes, as an API server does; kubelet looks at the number alone.
    fn set_priority(&mut self) {
        let Some(spec) = self.value.get_mut("spec").and_then(Value::as_object_mut) else { return };
        let class = spec.get("priorityClassName").and_then(Value::as_str);
        let number = CRITICAL.iter().find(|(name, _)| Some(*name) == class).map(|(_, number)| *number);
        if let (Some(number), None | Some(Value::Null)) = (number, spec.get("priority")) {
            spec.insert("priority".to_owned(), number.into());
        }
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.value.get("metadata")?.get("annotations")?.get(name)?.as_str()
    }

    fn first_port(&self) -> Option<u16> {
        let containers = self.value.get("spec")?.get("containers")?.as_array()?;
        let ports = containers.iter().filter_map(|container| container.get("ports")?.as_array());
        let port = ports.flatten().find_map(|port| port.get("containerPort")?.as_u64())?;
        u16::try_from(port).ok()
    }

    /// A container without a hook of its own waits before it is told to end.
    fn add_drain(&mut self) {
        let Some(spec) = self.value.get_mut("spec") else { return };
        let grace = spec.get("terminationGracePeriodSeconds").and_then(Value::as_u64);
        // Kubernetes refuses to sleep longer than a pod may take to end.
        let seconds = DRAIN_SECONDS.min(grace.unwrap_or(DEFAULT_GRACE_SECONDS));
        let containers = spec.get_mut("containers").and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            let lifecycle = container.entry("lifecycle").or_insert(Value::Null);
            if lifecycle.is_null() {
                *lifecycle = json!({});
            }
            let Some(lifecycle) = lifecycle.as_object_mut() else { continue };
            if seconds > 0 && lifecycle.get("preStop").is_none_or(Value::is_null) {
                lifecycle.insert("preStop".to_owned(), json!({ "sleep": { "seconds": seconds } }));
            }
        }
    }
}

const SUBDOMAIN: &str = "use lower-case letters, digits, hyphens and dots (RFC 1123)";

fn field(field: impl Into<String>, message: impl Into<String>) -> BadPod {
    BadPod::Field { field: field.into(), message: message.into() }
}

fn text_of<'v>(value: Option<&'v Value>, path: &str) -> Result<&'v str, BadPod> {
    match value {
        None | Some(Value::Null) => Err(field(path, "is missing")),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(field(path, format!("{other} is not a text: put it in quotes"))),
    }
}

fn parse_port(text: &str) -> Result<u16, BadPod> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| field(format!("metadata.annotations.{ROUTE_PORT}"), format!("{text:?} is not a port")))
}

/// Each has a name of its own and an image.
fn check_containers(pod: &Map<String, Value>) -> Result<(), BadPod> {
    let spec = pod.get("spec").and_then(Value::as_object).ok_or_else(|| field("spec", "is missing"))?;
    let mut seen = Vec::new();
    for (list, is_needed) in [("initContainers", false), ("containers", true)] {
        let path = format!("spec.{list}");
        let containers = match spec.get(list) {
            None | Some(Value::Null) if !is_needed => continue,
            Some(Value::Array(containers)) if !containers.is_empty() || !is_needed => containers,
            None | Some(Value::Null | Value::Array(_)) => {
                return Err(field(path, "a pod has at least one container"));
            }
            Some(_) => return Err(field(path, "a list is needed")),
        };
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let name = text_of(container.get("name"), &format!("{path}.name"))?;
            if !is_label(name) {
                return Err(field(
                    format!("{path}.name"),
                    format!("{name:?} is not a name: {SUBDOMAIN}, no dots"),
                ));
            }
            if seen.contains(&name) {
                return Err(field(
                    format!("{path}.name"),
                    format!("{name:?} is the name of another container, too"),
                ));
            }
            seen.push(name);
            if text_of(container.get("image"), &format!("{path}.image"))?.is_empty() {
                return Err(field(format!("{path}.image"), "is empty"));
            }
        }
    }
    Ok(())
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_part)
}

fn is_label(text: &str) -> bool {
    text.len() <= MAX_LABEL && is_part(text)
}

fn is_part(text: &str) -> bool {
    let is_edge =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && is_edge(text.bytes().next())
        && is_edge(text.bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: web
    image: example.org/web:1
    ports: [{containerPort: 8080, hostPort: 80}]
  - name: log
    image: example.org/log:1
    lifecycle: {preStop: {exec: {command: [flush]}}}
";

    #[test]
    fn a_pod_is_what_it_was() {
        let pod = Pod::parse(WEB).unwrap();
        assert_eq!((pod.name(), pod.namespace()), ("web", "default"));
        assert_eq!(yaml::parse(&pod.to_json()), yaml::parse(WEB));
        assert_eq!(Pod::parse(&pod.to_json()), Ok(pod));
    }

    #[test]
    fn what_is_no_pod_is_said() {
        for (text, message) in [
            ("a: [", "line "),
            ("- a", "it is no mapping, not a Pod"),
            ("kind: Deployment\napiVersion: apps/v1", "it is Deployment with apiVersion: apps/v1"),
            ("kind: Pod\napiVersion: v1", "metadata.name: is missing"),
            (
                "kind: Pod\napiVersion: v1\nmetadata: {name: 5}",
                "metadata.name: 5 is not a text: put it in quotes",
            ),
            ("kind: Pod\napiVersion: v1\nmetadata: {name: Web}", "metadata.name: \"Web\" is not a name"),
            ("kind: Pod\napiVersion: v1\nmetadata: {name: a, namespace: a.b}", "metadata.namespace: "),
            ("kind: Pod\napiVersion: v1\nmetadata: {name: a}", "spec: is missing"),
            (
                "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec: {containers: []}",
                "at least one container",
            ),
            (
                "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec: {containers: [{name: a}]}",
                "spec.containers[0].image: is missing",
            ),
            (
                "kind: Pod\napiVersion: v1\nmetadata: {name: a}\nspec: {initContainers: [{name: a, image: b}], containers: [{name: a, image: b}]}",
                "spec.containers[0].name: \"a\" is the name of another container, too",
            ),
        ] {
            let error = Pod::parse(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn critical_classes_have_their_numbers() {
        for (spec, want) in [
            ("priorityClassName: system-node-critical", Some(2_000_001_000)),
            ("priorityClassName: system-cluster-critical", Some(2_000_000_000)),
            ("priorityClassName: system-node-critical\n  priority: 7", Some(7)),
            ("priorityClassName: other", None),
            ("priority: 7", Some(7)),
            ("hostNetwork: true", None),
        ] {
            let pod = Pod::parse(&WEB.replace("  containers:", &format!("  {spec}\n  containers:"))).unwrap();
            assert_eq!(yaml::parse(&pod.to_json()).unwrap()["spec"]["priority"].as_u64(), want, "{spec}");
        }
    }

    #[test]
    fn a_route_is_annotations_and_time_to_drain() {
        let mut pod = Pod::parse(WEB).unwrap();
        pod.set_route(Route { host: "web.example", port: None }).unwrap();
        let value = yaml::parse(&pod.to_json()).unwrap();
        assert_eq!(value["metadata"]["annotations"][ROUTE_HOST], "web.example");
        assert_eq!(value["metadata"]["annotations"][ROUTE_PORT], "8080");
        let hook = |index: usize| value["spec"]["containers"][index]["lifecycle"]["preStop"].clone();
        assert_eq!(hook(0), json!({"sleep": {"seconds": 2}}));
        assert_eq!(hook(1), json!({"exec": {"command": ["flush"]}}), "its own hook stays");
        // A manifest that brings the annotation itself gets the same.
        let text = WEB.replace("labels:", "annotations: {lepton.route/host: web.example}, labels:");
        assert_eq!(Pod::parse(&text).unwrap(), pod);
        pod.set_route(Route { host: "web.example", port: Some(9090) }).unwrap();
        assert!(pod.to_json().contains("\"lepton.route/port\":\"9090\""));
    }

    #[test]
    fn draining_never_takes_longer_than_the_pod_may() {
        for (grace, hook) in [(1, json!({"sleep": {"seconds": 1}})), (0, Value::Null)] {
            let mut pod = Pod::parse(&format!("{WEB}  terminationGracePeriodSeconds: {grace}\n")).unwrap();
            pod.set_route(Route { host: "web.example", port: Some(80) }).unwrap();
            let value = yaml::parse(&pod.to_json()).unwrap();
            assert_eq!(value["spec"]["containers"][0]["lifecycle"]["preStop"], hook, "{grace}");
        }
        let mut pod =
            Pod::parse(&WEB.replace("    ports: [{containerPort: 8080, hostPort: 80}]\n", "")).unwrap();
        let error = pod.set_route(Route { host: "web.example", port: None }).unwrap_err().to_string();
        assert!(error.contains("no container has ports"), "{error}");
    }
}
