//! What the runtime says of a container, over CRI.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lepton_cri::v1 as cri;
use lepton_cri::v1::runtime_service_client::RuntimeServiceClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::cgroup::{Place, PodOf};

/// One container and one pod, with labels and annotations.
const LARGEST: usize = 4 << 20;
/// The runtime answers at once; longer means that it cannot.
const PATIENCE: Duration = Duration::from_secs(4);
/// Labels that kubelet adds to those of the pod.
const OWN_LABELS: &str = "io.kubernetes.";
const UID_LABEL: &str = "io.kubernetes.pod.uid";
const CONTAINER_LABEL: &str = "io.kubernetes.container.name";

/// A container of a pod of kubelet's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) name: String,
    /// The image by name, and by digest.
    pub(crate) images: Vec<String>,
    pub(crate) namespace: String,
    pub(crate) pod_name: String,
    pub(crate) pod_uid: String,
    /// The pod's labels when it was made.
    pub(crate) labels: BTreeMap<String, String>,
}

/// Why a container is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RuntimeError {
    /// It does not answer.
    #[error("the container runtime says: {}", .0.message())]
    Call(Status),
    /// It has no such container that runs.
    #[error("the container runtime has no such container that runs")]
    Unknown,
    /// It has the container elsewhere.
    #[error("the container's cgroup is not that of its pod")]
    Elsewhere,
    /// It is a container of somebody else.
    #[error("the container is not one of kubelet's")]
    NoKubelet,
}

/// The runtime.
#[derive(Clone, Debug)]
pub(crate) struct Runtime(Option<RuntimeServiceClient<Channel>>);

impl Runtime {
    /// The runtime at that socket; it is connected to when it is asked.
    pub(crate) fn new(socket: &Path) -> Self {
        // A path that is no part of an address leads nowhere.
        let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).ok();
        Self(endpoint.map(|endpoint| {
            RuntimeServiceClient::new(endpoint.timeout(PATIENCE).connect_lazy())
                .max_decoding_message_size(LARGEST)
        }))
    }

    /// The container whose cgroup that is.
    pub(crate) async fn container(&self, place: &Place) -> Result<Container, RuntimeError> {
        let no_address = || RuntimeError::Call(Status::unavailable("its socket's path is no address"));
        let mut runtime = self.0.clone().ok_or_else(no_address)?;
        let filter = cri::ContainerFilter { id: place.container.clone(), ..Default::default() };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        let listed = runtime.list_containers(request).await.map_err(RuntimeError::Call)?.into_inner();
        let container = only(listed.containers, |it| it.id == place.container)?;
        let filter = cri::PodSandboxFilter { id: container.pod_sandbox_id.clone(), ..Default::default() };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        let listed = runtime.list_pod_sandbox(request).await.map_err(RuntimeError::Call)?.into_inner();
        let pod = only(listed.items, |it| it.id == container.pod_sandbox_id)?;
        read(place, container, pod)
    }
}

/// The one that is meant: a filter of the runtime's may take the beginning of an id, too.
fn only<T>(list: Vec<T>, is_meant: impl Fn(&T) -> bool) -> Result<T, RuntimeError> {
    list.into_iter().find(is_meant).ok_or(RuntimeError::Unknown)
}

/// What both say, when they agree with the cgroup.
pub(crate) fn read(
    place: &Place,
    container: cri::Container,
    pod: cri::PodSandbox,
) -> Result<Container, RuntimeError> {
    if container.state() != cri::ContainerState::ContainerRunning {
        return Err(RuntimeError::Unknown);
    }
    let metadata = pod.metadata.unwrap_or_default();
    let is_there = match &place.pod {
        PodOf::Uid(uid) => *uid == metadata.uid,
        PodOf::Sandbox(id) => *id == pod.id,
    };
    if !is_there || container.id != place.container || container.pod_sandbox_id != pod.id {
        return Err(RuntimeError::Elsewhere);
    }
    // Other clients of the runtime make pods, too, and name them as they like.
    let name = container.metadata.unwrap_or_default().name;
    if metadata.uid.is_empty()
        || pod.labels.get(UID_LABEL) != Some(&metadata.uid)
        || container.labels.get(UID_LABEL) != Some(&metadata.uid)
        || container.labels.get(CONTAINER_LABEL) != Some(&name)
    {
        return Err(RuntimeError::NoKubelet);
    }
    let image = container.image.unwrap_or_default().image;
    let mut images: Vec<String> =
        [image, container.image_ref].into_iter().filter(|it| !it.is_empty()).collect();
    images.dedup();
    let labels = pod.labels.into_iter().filter(|(key, _)| !key.starts_with(OWN_LABELS)).collect();
    Ok(Container {
        name,
        images,
        namespace: metadata.namespace,
        pod_name: metadata.name,
        pod_uid: metadata.uid,
        labels,
    })
}
