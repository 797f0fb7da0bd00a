//! Pods from kubelet's list. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::pod::Pod;
use crate::status::{is_sidecar, items, summary, text};
use crate::time;

/// Names the container that is meant when none is named.
const DEFAULT: &str = "kubectl.kubernetes.io/default-container";
/// Where a pod comes from: `file` for a manifest of this host, `api` for an API server.
const SOURCE: &str = "kubernetes.io/config.source";

/// The pods of a PodList in JSON.
pub(crate) fn pods(list: &[u8]) -> Result<Vec<Pod>, serde_json::Error> {
    let list: Value = serde_json::from_slice(list)?;
    Ok(items(&list["items"]).map(pod).collect())
}

fn pod(pod: &Value) -> Pod {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    let summary = summary(pod);
    let word = |value: &Value| text(value).unwrap_or_default().to_owned();
    // Those of a manifest have no date of creation.
    let since = text(&metadata["creationTimestamp"]).or(text(&status["startTime"]));
    let (sidecars, first): (Vec<&Value>, Vec<&Value>) =
        items(&spec["initContainers"]).partition(|one| is_sidecar(one));
    let main = || items(&spec["containers"]);
    let all = main().chain(sidecars).chain(first);
    let default = text(&metadata["annotations"][DEFAULT]).map(str::to_owned);
    Pod {
        namespace: word(&metadata["namespace"]),
        name: word(&metadata["name"]),
        uid: word(&metadata["uid"]),
        node: word(&spec["nodeName"]),
        is_static: text(&metadata["annotations"][SOURCE]).is_some_and(|source| source != "api"),
        ready: Some((summary.ready, summary.total)),
        status: summary.word,
        restarts: summary.restarts,
        since_ns: since.and_then(time::parse),
        address: word(&status["podIP"]),
        containers: all.map(|one| word(&one["name"])).collect(),
        default: default.or_else(|| main().next().map(|one| word(&one["name"]))),
        ports: main().flat_map(ports).collect(),
    }
}

fn ports(container: &Value) -> BTreeMap<String, u16> {
    let port = |one: &Value| {
        let number = one["containerPort"].as_u64().and_then(|port| u16::try_from(port).ok())?;
        Some((text(&one["name"])?.to_owned(), number))
    };
    items(&container["ports"]).filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_kubelet() {
        let list = br#"{"kind":"PodList","items":[{
            "metadata":{"name":"web-edge-1","namespace":"default","uid":"u1","creationTimestamp":null,
                "annotations":{"kubernetes.io/config.source":"file"}},
            "spec":{"nodeName":"edge-1",
                "initContainers":[{"name":"page"},{"name":"side","restartPolicy":"Always"}],
                "containers":[{"name":"httpd","ports":[{"containerPort":8080,"name":"http"}]},{"name":"other"}]},
            "status":{"phase":"Running","startTime":"1970-01-01T00:00:01Z","podIP":"10.85.0.4"}}]}"#;
        let want = Pod {
            namespace: "default".to_owned(),
            name: "web-edge-1".to_owned(),
            uid: "u1".to_owned(),
            node: "edge-1".to_owned(),
            is_static: true,
            ready: Some((0, 3)),
            status: "Running".to_owned(),
            restarts: 0,
            since_ns: Some(1_000_000_000),
            address: "10.85.0.4".to_owned(),
            containers: ["httpd", "other", "side", "page"].map(str::to_owned).to_vec(),
            default: Some("httpd".to_owned()),
            ports: [("http".to_owned(), 8080)].into(),
        };
        assert_eq!(pods(list).unwrap(), [want]);
        // As Go writes an empty list.
        assert_eq!(pods(br#"{"items":null}"#).unwrap(), []);
        assert!(pods(b"Unauthorized").is_err());
    }
}
