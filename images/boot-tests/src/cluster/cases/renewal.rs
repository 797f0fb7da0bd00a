//! Certificates that end soon: kubelet has new ones before that, and goes on as the same process.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{PODS, Try, require};
use crate::cluster::{ClusterError, NODE_PATIENCE, is_ready};

/// What the controller manager is told besides, and the same for this side. It dates certificates back by five minutes,
/// and kubelet asks for the next one after 70 to 90 % of the whole.
const SHORT: &str = "--cluster-signing-duration=4m";
const LIFE: Duration = Duration::from_secs(240);
/// The signer of what kubelet shows to the API server.
const SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

pub(super) fn renewal(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.cluster.control.controllers.run_with(&[SHORT])?;
    let result = case.cluster.add_spare_by_token().and_then(|name| {
        let result = renews(case, &name);
        case.cluster.remove_spare();
        case.kubectl(&["delete", "node", &name, "--ignore-not-found"])?;
        result
    });
    case.cluster.control.controllers.run_with(&[])?;
    result
}

fn renews(case: &mut Try<'_>, name: &str) -> Result<(), ClusterError> {
    case.until(&format!("{name} to be ready"), NODE_PATIENCE, |case| {
        Ok(is_ready(&case.json(&["get", "node", name])?))
    })?;
    let ready = Instant::now();
    let started = start_of_kubelet(case, name)?;
    case.until(&format!("a certificate that {name} asked for by itself"), PODS, |case| {
        let requests = case.items("csr")?;
        let user = format!("system:node:{name}");
        let is_its = |request: &&Value| {
            request["spec"]["username"] == user.as_str()
                && request["spec"]["signerName"] == SIGNER
                && request["status"]["certificate"].is_string()
        };
        Ok(requests.iter().any(|request| is_its(&request)))
    })?;
    // The first certificate, which is older than the node's readiness, is of no use after this.
    std::thread::sleep((LIFE + Duration::from_secs(20)).saturating_sub(ready.elapsed()));
    let lease = |case: &Try<'_>| {
        let lease = case.cluster.kubectl.json(&["-n", "kube-node-lease", "get", "lease", name])?;
        Ok::<_, ClusterError>(lease["spec"]["renewTime"].clone())
    };
    let before = lease(case)?;
    case.until("the lease to be renewed with the new certificate", PODS, |case| Ok(lease(case)? != before))?;
    require(is_ready(&case.json(&["get", "node", name])?), || format!("{name} is ready"))?;
    let now = start_of_kubelet(case, name)?;
    require(now == started, || format!("kubelet was not started anew: {started}, {now}"))
}

/// When kubelet was started, as it says itself; over its serving certificate.
fn start_of_kubelet(case: &Try<'_>, node: &str) -> Result<String, ClusterError> {
    let metrics = case.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/metrics")])?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
    line.map(str::to_owned)
        .ok_or_else(|| ClusterError::Unexpected("kubelet says when it was started".to_owned()))
}
