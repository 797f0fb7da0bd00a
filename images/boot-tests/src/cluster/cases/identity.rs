//! A node that joins with the host's identity and no token of Kubernetes': only a host that SPIRE's server has let in gets
//! work, and one that it puts out loses its node.

use std::time::Duration;

use super::{PODS, Try, pod, require};
use crate::cluster::node::Join;
use crate::cluster::spire::{self, Spire};
use crate::cluster::{API_PATIENCE, ClusterError, NODE_PATIENCE, is_ready};

/// How long a host that nobody let in is watched.
const WATCHED: Duration = Duration::from_secs(60);
/// A token of SPIRE's form that its server has never given.
const INVENTED: &str = "00000000-0000-4000-8000-000000000000";
/// The signer of kubelets' certificates for the API server; a node with an identity needs none.
const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";

pub(super) fn identity(case: &mut Try<'_>) -> Result<(), ClusterError> {
    let mut spire = Spire::start(&case.cluster.setup, &case.cluster.field)?;
    let result = with(case, &mut spire);
    case.cluster.remove_spare();
    case.cluster.control.api.run_with(&[])?;
    until_api(case)?;
    let name = case.cluster.spare();
    case.kubectl(&["delete", "node", &name, "--ignore-not-found"])?;
    result.map_err(|error| match error {
        ClusterError::TimedOut { what, last, details } => {
            ClusterError::TimedOut { what, last, details: format!("{details}\n{}", spire.details()) }
        }
        error => error,
    })
}

fn until_api(case: &mut Try<'_>) -> Result<(), ClusterError> {
    case.until("the API server", API_PATIENCE, |case| Ok(case.kubectl(&["get", "--raw=/readyz"])? == "ok"))
}

fn with(case: &mut Try<'_>, spire: &mut Spire) -> Result<(), ClusterError> {
    case.cluster.until("SPIRE's server", spire::START, |_| spire.is_ready())?;
    case.cluster.control.api.run_with(&[spire::ARGUMENT])?;
    until_api(case)?;
    let bundle = spire.bundle()?;
    let join = |token: &str, cluster: &crate::cluster::Cluster| Join::Identity {
        ca_hash: cluster.join.ca_hash(),
        bundle: bundle.clone(),
        token: token.to_owned(),
    };
    // Nobody let this host in: it is up, and no node.
    let stranger = join(INVENTED, case.cluster);
    let name = case.cluster.start_spare(&stranger)?;
    case.until("the stranger to be up", NODE_PATIENCE, |case| {
        let console = case.cluster.nodes.last().map(crate::cluster::Node::console).unwrap_or_default();
        Ok(console.contains("lepton: ready") || console.contains("lepton: failed"))
    })?;
    std::thread::sleep(WATCHED);
    let nodes = case.json(&["get", "nodes"])?;
    let is_there =
        nodes["items"].as_array().into_iter().flatten().any(|node| node["metadata"]["name"] == name.as_str());
    require(!is_there, || format!("{name}, which has no identity, is no node"))?;
    case.cluster.remove_spare();
    // This one is let in, and what it is called depends on that alone.
    let token = spire.token()?;
    spire.name_node(&token, &name)?;
    let known = join(&token, case.cluster);
    case.cluster.start_spare(&known)?;
    case.until(&format!("{name} to be ready"), NODE_PATIENCE, |case| {
        Ok(is_ready(&case.json(&["get", "node", &name])?))
    })?;
    case.apply(&pod("guest", "sleep 3600", &format!("  nodeName: {name}\n")))?;
    case.until_ready("guest")?;
    // Its serving certificate, which it asked for with its identity, is one of the cluster.
    let said = case.kubectl(&["exec", "guest", "--", "hostname"])?;
    require(said.trim() == "guest", || format!("the pod answers: {said:?}"))?;
    let requests = case.items("csr")?;
    let user = format!("system:node:{name}");
    let is_by_certificate = requests.iter().any(|request| {
        request["spec"]["username"] == user.as_str() && request["spec"]["signerName"] == CLIENT_SIGNER
    });
    require(!is_by_certificate, || format!("{name} has asked for no certificate to show"))?;
    // It goes on when the tokens of its start have ended.
    std::thread::sleep(Duration::from_secs(150));
    require(is_ready(&case.json(&["get", "node", &name])?), || format!("{name} is ready still"))?;
    spire.evict(&token)?;
    case.until(&format!("{name} to be missed"), PODS, |case| {
        Ok(!is_ready(&case.json(&["get", "node", &name])?))
    })
}
