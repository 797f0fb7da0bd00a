//! The API server is away: nodes go on, restart what ends, and tell it all afterwards.

use std::time::Duration;

use serde_json::Value;

use super::{PODS, Try, pod, require};
use crate::cluster::{API_PATIENCE, ClusterError, is_ready};

const SHORT: Duration = Duration::from_secs(120);
const LONG: Duration = Duration::from_secs(600);

pub(super) fn outage(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.apply(&pod("steady", "sleep 36000", ""))?;
    // It ends once, well within the outage, and then stays.
    let ends = "if test -e /kept/once; then sleep 36000; fi; touch /kept/once; sleep 60; exit 1";
    let kept =
        "    volumeMounts: [{name: kept, mountPath: /kept}]\n  volumes: [{name: kept, emptyDir: {}}]\n";
    case.apply(&pod("ending", ends, kept))?;
    case.until_ready("steady")?;
    case.until_ready("ending")?;
    let steady = container(case, "steady")?;
    let before = container(case, "ending")?;
    require(before["restartCount"] == 0, || "the pod has not ended yet".to_owned())?;
    case.cluster.control.api.stop();
    std::thread::sleep(if case.is_all { LONG } else { SHORT });
    case.cluster.control.api.start_again()?;
    case.until("the API server", API_PATIENCE, |case| {
        Ok(case.cluster.kubectl.output(&["get", "--raw=/readyz"])? == "ok")
    })?;
    case.until("the restart to be told", PODS, |case| Ok(container(case, "ending")?["restartCount"] == 1))?;
    case.until("every node to be ready", PODS, |case| {
        let nodes = case.items("nodes")?;
        Ok(nodes.iter().all(is_ready))
    })?;
    let after = container(case, "steady")?;
    require(steady["containerID"] == after["containerID"], || {
        format!("the other pod has gone on: {steady} {after}")
    })
}

fn container(case: &Try<'_>, pod: &str) -> Result<Value, ClusterError> {
    Ok(case.json(&["get", "pod", pod])?["status"]["containerStatuses"][0].clone())
}
