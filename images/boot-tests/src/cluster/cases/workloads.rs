//! Pods that controllers make: how many there are, how often they run, and how they end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PODS, Try, deployment, pod, require};
use crate::cluster::ClusterError;

/// A change that restarts a container does so within this.
const SETTLE: Duration = Duration::from_secs(30);

/// 1, 10 and 0 pods, on every node.
pub(super) fn scale(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.apply(&deployment("web", 1, "sleep 3600", ""))?;
    for count in [1, 10] {
        case.kubectl(&["scale", "deployment/web", &format!("--replicas={count}")])?;
        case.until(&format!("{count} pods to be available"), PODS, |case| {
            Ok(case.json(&["get", "deployment", "web"])?["status"]["availableReplicas"] == count)
        })?;
    }
    let pods = case.items("pods")?;
    let nodes: BTreeSet<String> = pods.iter().map(|pod| pod["spec"]["nodeName"].to_string()).collect();
    require(nodes.len() == case.cluster.setup.nodes, || format!("every node has pods: {nodes:?}"))?;
    let addresses: BTreeSet<String> = pods.iter().map(|pod| pod["status"]["podIP"].to_string()).collect();
    require(addresses.len() == 10, || format!("every pod has an address of its own: {addresses:?}"))?;
    case.kubectl(&["scale", "deployment/web", "--replicas=0"])?;
    case.until("every pod to be gone", PODS, |case| Ok(case.items("pods")?.is_empty()))
}

/// Labels of a node and of a pod change; the container does not notice.
pub(super) fn labels(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.apply(&pod("still", "sleep 3600", ""))?;
    case.until_ready("still")?;
    let container = |case: &Try<'_>| {
        let pod = case.json(&["get", "pod", "still"])?;
        let status = &pod["status"]["containerStatuses"][0];
        Ok::<_, ClusterError>(json!([status["containerID"], status["restartCount"], status["state"]]))
    };
    let before = container(case)?;
    let node =
        case.json(&["get", "pod", "still"])?["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    case.kubectl(&["label", "node", &node, "example.org/colour=blue"])?;
    case.kubectl(&["label", "pod", "still", "example.org/colour=blue"])?;
    case.kubectl(&["annotate", "pod", "still", "example.org/note=seen"])?;
    std::thread::sleep(SETTLE);
    let after = container(case)?;
    case.kubectl(&["label", "node", &node, "example.org/colour-"])?;
    require(before == after, || format!("the container is the same: {before} and {after}"))
}

/// A job that fails runs once, and says why.
pub(super) fn job(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let image = super::image();
    case.apply(&format!(
        "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: once}}\nspec:\n  backoffLimit: 0\n  template:\n    spec:\n      \
         restartPolicy: Never\n      containers:\n      - name: main\n        image: {image}\n        \
         command: [sh, -c, 'echo -n no flour > /dev/termination-log; exit 4']\n"
    ))?;
    case.until("the job to fail", PODS, |case| {
        let job = case.json(&["get", "job", "once"])?;
        let conditions = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
        Ok(conditions.iter().any(|one| one["type"] == "Failed" && one["status"] == "True"))
    })?;
    let pods = case.items("pods")?;
    require(pods.len() == 1, || format!("the job has had one pod, not {}", pods.len()))?;
    let ended = &pods[0]["status"]["containerStatuses"][0]["state"]["terminated"];
    let want = json!(["no flour", 4, "Error"]);
    let said = json!([ended["message"], ended["exitCode"], ended["reason"]]);
    require(said == want, || format!("it ended with {want}: {said}"))?;
    require(pods[0]["status"]["containerStatuses"][0]["restartCount"] == 0, || {
        "it was not restarted".to_owned()
    })
}

/// A pod that does not obey SIGTERM has its time, and no more.
pub(super) fn grace(case: &mut Try<'_>) -> Result<(), ClusterError> {
    const GRACE: u64 = 10;
    let stubborn = "trap 'echo asked to end' TERM; while true; do sleep 1; done";
    case.apply(&pod("stubborn", stubborn, ""))?;
    case.apply(&pod("polite", "trap 'exit 0' TERM; while true; do sleep 1; done", ""))?;
    case.until_ready("stubborn")?;
    case.until_ready("polite")?;
    let follow = case.follow("stubborn", "reader")?;
    let timed = |case: &Try<'_>, name: &str| {
        let start = Instant::now();
        case.kubectl(&["delete", "pod", name, &format!("--grace-period={GRACE}"), "--timeout=300s"])?;
        Ok::<_, ClusterError>(start.elapsed())
    };
    let polite = timed(case, "polite")?;
    let stubborn = timed(case, "stubborn")?;
    // The pod is gone, so the stream has ended or never will.
    let said = follow.end()?;
    require(said.contains("asked to end"), || format!("SIGTERM came first: {said:?}"))?;
    require(stubborn >= Duration::from_secs(GRACE), || format!("it had {GRACE} s: {stubborn:?}"))?;
    require(polite < stubborn, || format!("one that obeys is gone sooner: {polite:?}, {stubborn:?}"))?;
    let left: Vec<Value> = case.items("pods")?;
    require(left.is_empty(), || "both are gone".to_owned())
}
