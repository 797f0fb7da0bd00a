//! Kubelet's list of pods, asked for anew when it is old or lacks a pod.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lepton_kubelet_client::{Kubelet, KubeletError};
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;

/// Labels of pods change, seldom: so old a list is good enough.
const FRESH: Duration = Duration::from_secs(2);
/// A pod that is missing may be in a newer list; kubelet is not asked more often than that.
const PAUSE: Duration = Duration::from_millis(200);

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PodsError {
    /// It cannot be had.
    #[error("{}", chain(.0))]
    Kubelet(#[from] KubeletError),
    /// It is something else.
    #[error("its list cannot be read: {0}")]
    Json(#[from] serde_json::Error),
}

fn chain(error: &KubeletError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A list of pods.
#[derive(Debug, Default, Deserialize)]
struct List {
    #[serde(default, deserialize_with = "or_default")]
    items: Vec<Pod>,
}

/// What is needed of a Kubernetes Pod.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Pod {
    #[serde(default)]
    pub(crate) metadata: Metadata,
    #[serde(default)]
    pub(crate) spec: Spec,
    #[serde(default)]
    pub(crate) status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Metadata {
    name: String,
    namespace: String,
    uid: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) owner_references: Vec<Owner>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Owner {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) uid: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) service_account_name: String,
    pub(crate) node_name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Status {
    #[serde(deserialize_with = "or_default")]
    pub(crate) container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerStatus {
    pub(crate) image: String,
    #[serde(rename = "imageID")]
    pub(crate) image_id: String,
}

/// Go writes null for lists and maps that were never made.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Pod {
    /// Whether the pod has these names.
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.metadata.namespace == namespace && self.metadata.name == name
    }
}

/// Reads a list: pods by uid.
pub(crate) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Arc<Pod>>, serde_json::Error> {
    let list: List = serde_json::from_slice(bytes)?;
    let with_uid = list.items.into_iter().filter(|pod| !pod.metadata.uid.is_empty());
    Ok(with_uid.map(|pod| (pod.metadata.uid.clone(), Arc::new(pod))).collect())
}

/// The pods of kubelet.
#[derive(Debug)]
pub(crate) struct Pods(Mutex<State>);

#[derive(Debug)]
struct State {
    kubelet: Kubelet,
    asked: Option<Instant>,
    pods: BTreeMap<String, Arc<Pod>>,
}

impl Pods {
    pub(crate) fn new(kubelet: Kubelet) -> Self {
        Self(Mutex::new(State { kubelet, asked: None, pods: BTreeMap::new() }))
    }

    /// The pod with that uid, if kubelet has it.
    pub(crate) async fn get(&self, uid: &str) -> Result<Option<Arc<Pod>>, PodsError> {
        let mut state = self.0.lock().await;
        let age = state.asked.map(|asked| asked.elapsed());
        let known = state.pods.get(uid).cloned();
        match age {
            Some(age) if age < FRESH && known.is_some() => return Ok(known),
            Some(age) if age < PAUSE => return Ok(known),
            _ => {}
        }
        state.pods.clear();
        let list = state.kubelet.pods().await;
        // Failures, too, are not repeated at once.
        state.asked = Some(Instant::now());
        state.pods = read(&list?.bytes)?;
        Ok(state.pods.get(uid).cloned())
    }
}
