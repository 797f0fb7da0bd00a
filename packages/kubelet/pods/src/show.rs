//! The list of pods, for people and for programs.

use std::io::{self, Write as _};
use std::time::Duration;

use lepton_runtime_client::table;
use lepton_runtime_shim::time::{now_ns, rfc3339};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::list::List;
use crate::pod::Pod;

/// Prints how this program is used.
pub(crate) fn usage(text: &str) -> Result<(), Failure> {
    writeln!(io::stdout(), "{text}").map_err(Failure::output)
}

/// Shows all pods, or those of a namespace.
pub(crate) fn list(list: &List, namespace: Option<&str>, json: bool) -> Result<(), Failure> {
    if let Some(lacks) = &list.lacks {
        eprintln!("lepton-pods: {lacks}");
    }
    let mut pods =
        list.pods.iter().filter(|pod| namespace.is_none_or(|namespace| pod.namespace == namespace));
    let mut output = io::stdout().lock();
    if json {
        return pods.try_for_each(|pod| writeln!(output, "{}", as_json(pod))).map_err(Failure::output);
    }
    let head = ["NAMESPACE", "NAME", "READY", "STATUS", "RESTARTS", "AGE", "ADDRESS"];
    let now = now_ns();
    table::write(head, pods.map(|pod| row(pod, now)).collect(), &mut output).map_err(Failure::output)
}

fn row(pod: &Pod, now: i64) -> [String; 7] {
    let text = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        pod.namespace.clone(),
        pod.name.clone(),
        pod.ready.map_or("-".to_owned(), |(ready, total)| format!("{ready}/{total}")),
        pod.status.clone(),
        pod.restarts.to_string(),
        pod.since_ns.map_or("-".to_owned(), |since| table::span(now - since)),
        text(&pod.address),
    ]
}

fn as_json(pod: &Pod) -> Value {
    let since = pod.since_ns.and_then(|since| u64::try_from(since).ok());
    json!({
        "namespace": pod.namespace,
        "name": pod.name,
        "uid": pod.uid,
        "static": pod.is_static,
        "status": pod.status,
        "ready": pod.ready.map(|(ready, _)| ready),
        "total": pod.ready.map(|(_, total)| total),
        "restarts": pod.restarts,
        "since": since.map(|since| rfc3339(Duration::from_nanos(since))),
        "address": Some(&pod.address).filter(|address| !address.is_empty()),
        "containers": pod.containers,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let pod = Pod {
            namespace: "default".to_owned(),
            name: "web-edge-1".to_owned(),
            ready: Some((1, 2)),
            status: "Running".to_owned(),
            restarts: 3,
            since_ns: Some(1_000_000_000),
            address: "10.85.0.4".to_owned(),
            ..Pod::default()
        };
        let want = ["default", "web-edge-1", "1/2", "Running", "3", "1m2s", "10.85.0.4"];
        assert_eq!(row(&pod, 63_000_000_000), want);
        assert_eq!(as_json(&pod)["since"], "1970-01-01T00:00:01.000000000Z");
        let nothing = row(&Pod::default(), 0);
        assert_eq!(nothing[2..], ["-", "", "0", "-", "-"]);
        assert_eq!(as_json(&Pod::default())["ready"], Value::Null);
    }
}
