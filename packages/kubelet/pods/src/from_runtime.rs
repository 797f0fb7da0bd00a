//! Pods from what the container runtime has: for when kubelet does not say. It knows no readiness.

use std::collections::BTreeMap;

use lepton_cri::v1 as cri;
use lepton_runtime_client::client::Client;

use crate::failure::Failure;
use crate::pod::Pod;

// What kubelet calls what is its own.
/// Name of the pod.
pub const POD: &str = "io.kubernetes.pod.name";
/// Its namespace.
pub const NAMESPACE: &str = "io.kubernetes.pod.namespace";
pub(crate) const UID: &str = "io.kubernetes.pod.uid";
/// Name of the container.
pub const CONTAINER: &str = "io.kubernetes.container.name";
/// Among the annotations of a pod.
const SOURCE: &str = "kubernetes.io/config.source";

/// A container, and how it ended.
struct Container {
    name: String,
    container: cri::Container,
    end: Option<(i32, String)>,
}

/// All pods of kubelet.
pub(crate) async fn pods(client: &Client) -> Result<Vec<Pod>, Failure> {
    let mut newest: BTreeMap<String, cri::PodSandbox> = BTreeMap::new();
    for sandbox in client.pods(&[]).await? {
        let Some(uid) = sandbox.labels.get(UID).cloned() else { continue };
        if newest.get(&uid).is_none_or(|known| known.created_at < sandbox.created_at) {
            newest.insert(uid, sandbox);
        }
    }
    let mut pods = Vec::new();
    for (uid, sandbox) in newest {
        let mut containers = Vec::new();
        for (name, container) in newest_of(client.labelled(&[(UID, &uid)]).await?) {
            containers.push(Container { name, end: end(client, &container).await?, container });
        }
        let status = match client.pod_status(&sandbox.id).await {
            // Removed meanwhile.
            Err(error) if error.is_not_found() => continue,
            status => status?,
        };
        pods.push(pod(uid, &sandbox, status.network.unwrap_or_default().ip, &containers));
    }
    Ok(pods)
}

/// The last container of each name.
fn newest_of(containers: Vec<cri::Container>) -> BTreeMap<String, cri::Container> {
    let mut newest: BTreeMap<String, cri::Container> = BTreeMap::new();
    for container in containers {
        let Some(name) = container.labels.get(CONTAINER).cloned() else { continue };
        if newest.get(&name).is_none_or(|known| known.created_at < container.created_at) {
            newest.insert(name, container);
        }
    }
    newest
}

async fn end(client: &Client, container: &cri::Container) -> Result<Option<(i32, String)>, Failure> {
    if container.state() != cri::ContainerState::ContainerExited {
        return Ok(None);
    }
    match client.status(&container.id, false).await {
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
        Ok(answer) => Ok(answer.status.map(|status| (status.exit_code, status.reason))),
    }
}

fn pod(uid: String, sandbox: &cri::PodSandbox, address: String, containers: &[Container]) -> Pod {
    let label = |key: &str| sandbox.labels.get(key).cloned().unwrap_or_default();
    let is_ready = sandbox.state() == cri::PodSandboxState::SandboxReady;
    let attempts = |one: &Container| one.container.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
    Pod {
        namespace: label(NAMESPACE),
        name: label(POD),
        uid,
        is_static: sandbox.annotations.get(SOURCE).is_some_and(|source| source != "api"),
        status: word(is_ready, containers),
        restarts: containers.iter().map(|one| u64::from(attempts(one))).sum(),
        since_ns: Some(sandbox.created_at),
        // A pod that was stopped has given its address back.
        address: if is_ready { address } else { String::new() },
        containers: containers.iter().map(|one| one.name.clone()).collect(),
        ..Pod::default()
    }
}

fn word(is_ready: bool, containers: &[Container]) -> String {
    let runs = |one: &Container| one.container.state() == cri::ContainerState::ContainerRunning;
    let failed = containers.iter().filter_map(|one| one.end.as_ref()).find(|(code, _)| *code != 0);
    match failed {
        _ if is_ready && containers.iter().any(runs) => "Running".to_owned(),
        Some((_, reason)) if !reason.is_empty() => reason.clone(),
        Some((code, _)) => format!("ExitCode:{code}"),
        None if containers.is_empty() || containers.iter().any(|one| one.end.is_none()) => {
            "Pending".to_owned()
        }
        None => "Completed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(
        name: &str,
        state: cri::ContainerState,
        attempt: u32,
        end: Option<(i32, &str)>,
    ) -> Container {
        let container = cri::Container {
            state: state.into(),
            metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt }),
            ..cri::Container::default()
        };
        let end = end.map(|(code, reason)| (code, reason.to_owned()));
        Container { name: name.to_owned(), container, end }
    }

    #[test]
    fn what_the_runtime_knows() {
        use cri::ContainerState::{ContainerCreated, ContainerExited, ContainerRunning};
        let ended = |code, reason| container("a", ContainerExited, 0, Some((code, reason)));
        for (is_ready, containers, want) in [
            (true, vec![], "Pending"),
            (true, vec![container("a", ContainerCreated, 0, None)], "Pending"),
            (true, vec![container("a", ContainerRunning, 0, None), ended(1, "Error")], "Running"),
            (true, vec![ended(137, "OOMKilled")], "OOMKilled"),
            (false, vec![ended(3, "")], "ExitCode:3"),
            (false, vec![ended(0, "Completed")], "Completed"),
        ] {
            assert_eq!(word(is_ready, &containers), want);
        }
        let mut sandbox = cri::PodSandbox { created_at: 7, ..cri::PodSandbox::default() };
        sandbox.labels.insert(POD.to_owned(), "web-edge-1".to_owned());
        sandbox.annotations.insert(SOURCE.to_owned(), "file".to_owned());
        let containers =
            [container("a", ContainerRunning, 2, None), container("b", ContainerRunning, 1, None)];
        let pod = pod("u".to_owned(), &sandbox, "10.85.0.4".to_owned(), &containers);
        assert_eq!(
            (pod.name.as_str(), pod.restarts, pod.is_static, pod.ready),
            ("web-edge-1", 3, true, None)
        );
        assert_eq!((pod.address.as_str(), pod.containers.len()), ("10.85.0.4", 2));
    }
}
