//! Nodes: how they register, and how they come back after a restart and after a power cut.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PODS, Try, deployment, pod, require};
use crate::cluster::{ClusterError, NODE_PATIENCE, is_ready, node};

/// kubelet renews its lease every ten seconds.
const LEASE: Duration = Duration::from_secs(120);
/// A node that is silent is not ready after this.
const MISSED: Duration = Duration::from_secs(60);
/// Puts one pod on each node.
const SPREAD: &str = "      topologySpreadConstraints:\n      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, \
whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: spread}}}\n";
/// Pods leave a node that is gone after seconds instead of minutes.
const LEAVE_SOON: &str = "      tolerations:\n      - {key: node.kubernetes.io/unreachable, operator: Exists, \
effect: NoExecute, tolerationSeconds: 5}\n      - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, \
tolerationSeconds: 5}\n";

/// Every node is there with what its machine config says, and goes on saying that it lives.
pub(super) fn registered(case: &mut Try<'_>) -> Result<(), ClusterError> {
    for number in 1..=case.cluster.setup.nodes {
        let name = format!("node-{number}");
        let node = case.json(&["get", "node", &name])?;
        let labels = &node["metadata"]["labels"];
        let info = &node["status"]["nodeInfo"];
        let rack = format!("r{number}");
        require(labels["example.org/rack"] == rack.as_str(), || format!("{name} has its label: {labels}"))?;
        let zone = node::zone(number);
        require(labels["topology.kubernetes.io/zone"] == zone, || {
            format!("{name} is in zone {zone}: {labels}")
        })?;
        let system = info["osImage"].as_str().unwrap_or_default();
        require(system.starts_with("Lepton"), || format!("the system of {name} is Lepton: {info}"))?;
        let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
        let is_ours =
            |taint: &Value| taint["key"] == "example.org/rack" && taint["effect"] == "PreferNoSchedule";
        require(taints.iter().any(is_ours), || format!("{name} has its taint: {taints:?}"))?;
        let is_of_range = node["spec"]["podCIDR"].as_str().is_some_and(|range| range.starts_with("10.244."));
        require(is_of_range, || format!("{name} has a range of addresses for pods"))?;
        let lease = |case: &Try<'_>| {
            let lease = case.cluster.kubectl.json(&["-n", "kube-node-lease", "get", "lease", &name])?;
            Ok::<_, ClusterError>(lease["spec"]["renewTime"].clone())
        };
        let first = lease(case)?;
        case.until(&format!("{name} to renew its lease"), LEASE, |case| Ok(lease(case)? != first))?;
    }
    Ok(())
}

/// One more node joins, by a kubeconfig instead of a token, and runs a pod.
pub(super) fn kubeconfig(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let name = case.cluster.add_spare()?;
    let result = joins(case, &name);
    case.cluster.remove_spare();
    case.kubectl(&["delete", "node", &name, "--ignore-not-found"])?;
    result
}

fn joins(case: &mut Try<'_>, name: &str) -> Result<(), ClusterError> {
    case.until(&format!("{name} to be ready"), NODE_PATIENCE, |case| {
        Ok(is_ready(&case.json(&["get", "node", name])?))
    })?;
    case.apply(&pod("guest", "sleep 3600", &format!("  nodeName: {name}\n")))?;
    case.until_ready("guest")?;
    // Its serving certificate is one of the cluster, too.
    let said = case.kubectl(&["exec", "guest", "--", "hostname"])?;
    require(said.trim() == "guest", || format!("the pod answers: {said:?}"))
}

/// An operator empties a node, restarts it, and lets pods onto it again.
pub(super) fn drain(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let last = case.cluster.setup.nodes;
    let name = format!("node-{last}");
    case.apply(&deployment("spread", 2 * last, "sleep 3600", SPREAD))?;
    all_available(case, 2 * last)?;
    let boot = boot_id(case, &name)?;
    case.kubectl(&[
        "drain",
        &name,
        "--ignore-daemonsets",
        "--force",
        "--delete-emptydir-data",
        "--timeout=300s",
    ])?;
    let left = case.items("pods")?;
    let is_there =
        |pod: &&Value| pod["spec"]["nodeName"] == name.as_str() && pod["status"]["phase"] == "Running";
    require(!left.iter().any(|pod| is_there(&pod)), || format!("no pod of ours is left on {name}"))?;
    case.cluster.nodes()[last - 1].shut_down()?;
    // Its last word before it went: nobody has to wait until it is missed.
    let node = case.json(&["get", "node", &name])?;
    let ready =
        node["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
    let is_told = ready.is_some_and(|one| {
        one["status"] == "False" && one["message"].as_str().is_some_and(|text| text.contains("shutting down"))
    });
    require(is_told, || format!("{name} has said that it shuts down: {ready:?}"))?;
    case.cluster.nodes()[last - 1].power_on()?;
    back(case, &name, &boot)?;
    case.kubectl(&["uncordon", &name])?;
    // Pods that moved stay where they are; new ones go to the empty node.
    case.kubectl(&["rollout", "restart", "deployment/spread"])?;
    case.until("a pod runs on the node again", PODS, |case| {
        Ok(case.items("pods")?.iter().any(|pod| pod["spec"]["nodeName"] == name.as_str() && is_ready(pod)))
    })
}

/// A node loses power: its pods start elsewhere, and it comes back without what ran on it.
pub(super) fn power_cut(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let last = case.cluster.setup.nodes;
    require(last > 1, || "there is another node".to_owned())?;
    let name = format!("node-{last}");
    case.apply(&deployment("spread", last, "sleep 3600", &format!("{SPREAD}{LEAVE_SOON}")))?;
    all_available(case, last)?;
    let boot = boot_id(case, &name)?;
    case.cluster.nodes()[last - 1].cut_power();
    let cut = Instant::now();
    case.until("the node to be missed", PODS, |case| Ok(!is_ready(&case.json(&["get", "node", &name])?)))?;
    let missed = cut.elapsed();
    require(missed <= MISSED, || format!("the node was missed after {missed:?}"))?;
    let elsewhere = |case: &Try<'_>| {
        let pods = case.items("pods")?;
        let elsewhere = pods.iter().filter(|pod| pod["spec"]["nodeName"] != name.as_str() && is_ready(pod));
        Ok::<_, ClusterError>(
            elsewhere.map(|pod| pod["metadata"]["uid"].to_string()).collect::<BTreeSet<_>>(),
        )
    };
    case.until("every pod to run elsewhere", PODS, |case| Ok(elsewhere(case)?.len() == last))?;
    let before = elsewhere(case)?;
    case.cluster.nodes()[last - 1].power_on()?;
    back(case, &name, &boot)?;
    case.until("the pods that the node had to be gone", PODS, |case| Ok(case.items("pods")?.len() == last))?;
    let after = elsewhere(case)?;
    require(before == after, || "the pods that took over go on".to_owned())
}

/// Waits until a node is ready after another start.
fn back(case: &mut Try<'_>, name: &str, boot: &Value) -> Result<(), ClusterError> {
    case.until(&format!("{name} to be back"), NODE_PATIENCE, |case| {
        Ok(boot_id(case, name)? != *boot && is_ready(&case.json(&["get", "node", name])?))
    })
}

fn boot_id(case: &Try<'_>, name: &str) -> Result<Value, ClusterError> {
    Ok(case.json(&["get", "node", name])?["status"]["nodeInfo"]["bootID"].clone())
}

fn all_available(case: &mut Try<'_>, count: usize) -> Result<(), ClusterError> {
    case.until("the deployment to be available", PODS, |case| {
        Ok(case.json(&["get", "deployment", "spread"])?["status"]["availableReplicas"] == count)
    })
}
