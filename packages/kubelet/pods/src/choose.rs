//! The pod and the container that people mean. Pure.

use crate::failure::Failure;
use crate::options::Name;
use crate::pod::Pod;

/// The pod of a name.
pub fn pod<'p>(pods: &'p [Pod], namespace: Option<&str>, name: &Name) -> Result<&'p Pod, Failure> {
    let word = name.pod.as_str();
    let candidates =
        || pods.iter().filter(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace));
    let mut found: Vec<&Pod> = candidates().filter(|pod| pod.name == word).collect();
    if found.is_empty() {
        found = candidates().filter(|pod| is_short(pod, word)).collect();
    }
    match found[..] {
        [] => Err(Failure::NoPod { word: word.to_owned(), is_no_service: name.is_no_service }),
        [pod] => Ok(pod),
        _ => {
            let pods = found.iter().map(|pod| pod.full_name()).collect();
            Err(Failure::Ambiguous { word: word.to_owned(), pods })
        }
    }
}

/// Whether a manifest has the name: the node's was added to it.
fn is_short(pod: &Pod, word: &str) -> bool {
    let rest = pod.name.strip_prefix(word).and_then(|rest| rest.strip_prefix('-'));
    pod.is_static && !word.is_empty() && rest.is_some_and(|rest| pod.node.is_empty() || rest == pod.node)
}

/// The container of a pod that is named, or meant.
pub fn container<'p>(pod: &'p Pod, name: &'p Name) -> Result<&'p str, Failure> {
    let has = || pod.containers.clone();
    match (&name.container, &pod.default, &pod.containers[..]) {
        (Some(word), ..) if pod.containers.contains(word) => Ok(word),
        (Some(word), ..) => {
            Err(Failure::NoContainer { pod: pod.name.clone(), word: word.clone(), has: has() })
        }
        (None, Some(default), _) => Ok(default),
        (None, None, [one]) => Ok(one),
        (None, None, _) => Err(Failure::WhichContainer { pod: pod.name.clone(), has: has() }),
    }
}

/// The number of a port.
pub(crate) fn port(pod: &Pod, word: &str) -> Result<u16, Failure> {
    let known = word.parse().ok().or_else(|| pod.ports.get(word).copied());
    known.ok_or_else(|| Failure::NoPort { pod: pod.name.clone(), name: word.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(pod: &str, container: Option<&str>) -> Name {
        Name { pod: pod.to_owned(), container: container.map(str::to_owned), is_no_service: true }
    }

    fn known(namespace: &str, name: &str, node: &str) -> Pod {
        let [namespace, name, node] = [namespace, name, node].map(str::to_owned);
        Pod { namespace, name, node, is_static: true, ..Pod::default() }
    }

    #[test]
    fn names_of_pods() {
        let mut pods = vec![
            known("default", "web-edge-1", "edge-1"),
            known("default", "web-a-edge-1", "edge-1"),
            known("system", "dns-edge-1", "edge-1"),
            known("default", "dns-edge-1", "edge-1"),
            known("default", "plain-edge-1", "edge-1"),
        ];
        pods[4].is_static = false;
        let found = |namespace: Option<&str>, word: &str| {
            pod(&pods, namespace, &name(word, None)).map(Pod::full_name).map_err(|error| error.to_string())
        };
        assert_eq!(found(None, "web").unwrap(), "default/web-edge-1");
        assert_eq!(found(None, "web-a").unwrap(), "default/web-a-edge-1");
        assert_eq!(found(None, "plain-edge-1").unwrap(), "default/plain-edge-1");
        assert_eq!(found(Some("system"), "dns").unwrap(), "system/dns-edge-1");
        let want = "\"dns\" may be each of these pods: system/dns-edge-1, default/dns-edge-1; \
                    give the whole name, or -n NAMESPACE";
        assert_eq!(found(None, "dns").unwrap_err(), want);
        for (namespace, word) in [(None, "plain"), (None, "we"), (None, ""), (Some("system"), "web")] {
            let want =
                format!("there is no service and no pod {word:?}; \"lepton pods\" shows those of this host");
            assert_eq!(found(namespace, word).unwrap_err(), want);
        }
        // The runtime does not know the node's name.
        let pods = [known("default", "web-edge-1", ""), known("default", "db-edge-1", "")];
        assert_eq!(pod(&pods, None, &name("web", None)).unwrap().name, "web-edge-1");
    }

    #[test]
    fn containers_and_ports() {
        let mut pod = known("default", "web", "");
        pod.containers = vec!["a".to_owned(), "b".to_owned()];
        pod.ports = [("http".to_owned(), 8080)].into();
        let error = |found: Result<&str, Failure>| found.unwrap_err().to_string();
        assert_eq!(container(&pod, &name("web", Some("b"))).unwrap(), "b");
        let want = "the pod web has no container \"c\"; it has a, b";
        assert_eq!(error(container(&pod, &name("web", Some("c")))), want);
        let want = "the pod web has several containers: name one of a, b (-c)";
        assert_eq!(error(container(&pod, &name("web", None))), want);
        pod.default = Some("a".to_owned());
        assert_eq!(container(&pod, &name("web", None)).unwrap(), "a");
        assert_eq!((port(&pod, "http").unwrap(), port(&pod, "90").unwrap()), (8080, 90));
        assert_eq!(
            port(&pod, "x").unwrap_err().to_string(),
            "no container of the pod web has a port \"x\"; give its number"
        );
    }
}
