//! The pods of this host: as kubelet says, or else as the runtime knows them.

use std::net::SocketAddr;
use std::path::PathBuf;

use lepton_kubelet_client::Kubelet;
use lepton_runtime_client::client::Client;
use lepton_runtime_client::failure::chain;

use crate::failure::Failure;
use crate::pod::Pod;
use crate::{from_kubelet, from_runtime};

/// Who is asked.
#[derive(Debug)]
pub struct Host {
    /// The container runtime.
    pub client: Client,
    /// Where kubelet listens.
    pub kubelet: SocketAddr,
    /// Folder of the certificates that kubelet takes.
    pub credentials: PathBuf,
}

/// What was found.
#[derive(Debug)]
pub struct List {
    /// By namespace and name.
    pub pods: Vec<Pod>,
    /// Why it is less than it could be.
    pub lacks: Option<String>,
}

/// All pods, by namespace and name.
pub async fn all(host: &Host) -> Result<List, Failure> {
    let (mut pods, lacks) = match of_kubelet(host).await {
        Ok(pods) => (pods, None),
        Err(why) => {
            (from_runtime::pods(&host.client).await?, Some(format!("{why}; this is what the runtime knows")))
        }
    };
    pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    Ok(List { pods, lacks })
}

async fn of_kubelet(host: &Host) -> Result<Vec<Pod>, String> {
    let mut kubelet = Kubelet::new(host.kubelet, &host.credentials);
    if !kubelet.is_known() {
        return Err("kubelet does not run, or is of a cluster and answers its API server alone".to_owned());
    }
    let list = kubelet.pods().await.map_err(|error| format!("kubelet does not say: {}", chain(&error)))?;
    from_kubelet::pods(&list.bytes).map_err(|error| format!("kubelet's list cannot be read: {error}"))
}
