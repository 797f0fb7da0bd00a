//! `inspect`: all that is known of a container, as JSON.

use std::io::{self, Write as _};
use std::time::Duration;

use lepton_cri::v1 as cri;
use lepton_runtime_shim::time;
use serde_json::{Value, json};

use crate::client::Client;
use crate::failure::Failure;
use crate::find::{self, Entry};
use crate::show;

/// Shows containers, one object for each.
pub(crate) async fn show(client: &Client, words: &[String]) -> Result<(), Failure> {
    for word in words {
        let entry = find::one(client, word).await?;
        let known = client.status(&entry.container()?.id, true).await?;
        let pod = client.pod_status(&entry.pod.id).await?;
        let shown = value(&entry, &known, &pod);
        let text =
            serde_json::to_string_pretty(&shown).map_err(|error| Failure::io("write JSON", error.into()))?;
        writeln!(io::stdout(), "{text}").map_err(Failure::output)?;
    }
    Ok(())
}

fn value(entry: &Entry, known: &cri::ContainerStatusResponse, pod: &cri::PodSandboxStatus) -> Value {
    let status = known.status.clone().unwrap_or_default();
    let exited = status.state() == cri::ContainerState::ContainerExited;
    let info: Value =
        known.info.get("info").and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let network = pod.network.clone().unwrap_or_default();
    let mut addresses = vec![network.ip];
    addresses.extend(network.additional_ips.into_iter().map(|address| address.ip));
    addresses.retain(|address| !address.is_empty());
    let mounts: Vec<Value> = status.mounts.iter().map(|mount| {
        json!({"host": mount.host_path, "container": mount.container_path, "read-only": mount.readonly})
    }).collect();
    let pod_metadata = pod.metadata.clone().unwrap_or_default();
    json!({
        "id": status.id,
        "name": entry.name(),
        "image": status.image.map(|image| image.image),
        "image-id": status.image_id,
        "image-digest": status.image_ref,
        "state": show::name(cri::ContainerState::try_from(status.state).unwrap_or_default()),
        "pid": info.get("pid").filter(|pid| **pid != 0),
        "exit-code": exited.then_some(status.exit_code),
        "reason": exited.then_some(status.reason),
        "message": Some(status.message).filter(|message| !message.is_empty()),
        "created": moment(status.created_at),
        "started": moment(status.started_at),
        "finished": moment(status.finished_at),
        "log": status.log_path,
        "mounts": mounts,
        "labels": status.labels,
        "annotations": status.annotations,
        "pod": {
            "id": pod.id,
            "name": pod_metadata.name,
            "namespace": pod_metadata.namespace,
            "ready": pod.state() == cri::PodSandboxState::SandboxReady,
            "addresses": addresses,
            "annotations": pod.annotations,
        },
        "spec": info.get("runtimeSpec"),
    })
}

/// A time, unless it did not come yet.
fn moment(ns: i64) -> Option<String> {
    let ns = u64::try_from(ns).ok().filter(|ns| *ns > 0)?;
    Some(time::rfc3339(Duration::from_nanos(ns)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ended_container() {
        let status = cri::ContainerStatus {
            id: "c".into(),
            state: cri::ContainerState::ContainerExited.into(),
            exit_code: 7,
            reason: "Error".into(),
            created_at: 1,
            ..cri::ContainerStatus::default()
        };
        let info = [("info".to_owned(), "{\"pid\":0,\"runtimeSpec\":{\"a\":1}}".to_owned())].into();
        let known = cri::ContainerStatusResponse { status: Some(status), info };
        let entry = Entry { pod: cri::PodSandbox::default(), container: None };
        let shown = value(&entry, &known, &cri::PodSandboxStatus::default());
        assert_eq!(
            (&shown["exit-code"], &shown["state"], &shown["pid"]),
            (&json!(7), &json!("exited"), &Value::Null)
        );
        assert_eq!(
            (&shown["created"], &shown["finished"]),
            (&json!("1970-01-01T00:00:00.000000001Z"), &Value::Null)
        );
        assert_eq!(shown["spec"]["a"], 1);
    }
}
