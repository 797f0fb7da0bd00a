//! A container runtime that answers as ours does: recorded lists of a pod of kubelet's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use lepton_cri::v1 as cri;
use lepton_cri::v1::runtime_service_server::{RuntimeService, RuntimeServiceServer};
use tonic::{Request, Response, Status};

/// What it has.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cri(Arc<Mutex<(Vec<cri::Container>, Vec<cri::PodSandbox>)>>);

/// Names of one container.
#[derive(Clone, Debug)]
pub(crate) struct Names<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) sandbox: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) pod: &'a str,
    pub(crate) namespace: &'a str,
}

pub(crate) const IMAGE: &str = "registry.example/web:1";
pub(crate) const DIGEST: &str = "sha256:9834876dcfb05cb167a5c24953eba58c4ac89b1adf57f28f2f9d09af107ee8f0";

impl Cri {
    /// Adds a container in a pod of its own.
    pub(crate) fn add(&self, names: &Names<'_>) {
        let (container, pod) = shown(names);
        let mut lists = self.0.lock().unwrap();
        lists.0.push(container);
        lists.1.push(pod);
    }

    /// Changes the last container and pod.
    pub(crate) fn change(&self, change: impl FnOnce(&mut cri::Container, &mut cri::PodSandbox)) {
        let mut lists = self.0.lock().unwrap();
        let (containers, pods) = &mut *lists;
        change(containers.last_mut().unwrap(), pods.last_mut().unwrap());
    }

    /// Serves at a socket.
    pub(crate) fn serve(&self, socket: &Path) {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        let incoming = Accepting(listener);
        let service = RuntimeServiceServer::new(self.clone());
        tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    }
}

struct Accepting(tokio::net::UnixListener);

impl tonic::codegen::tokio_stream::Stream for Accepting {
    type Item = std::io::Result<tokio::net::UnixStream>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_accept(cx).map(|accepted| Some(accepted.map(|(stream, _)| stream)))
    }
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// As kubelet has them made and the runtime lists them.
fn shown(names: &Names<'_>) -> (cri::Container, cri::PodSandbox) {
    let own = [
        ("io.kubernetes.pod.name", names.pod),
        ("io.kubernetes.pod.namespace", names.namespace),
        ("io.kubernetes.pod.uid", names.uid),
    ];
    let mut of_pod = labels(&own);
    of_pod.extend(labels(&[("app", "web"), ("tier", "")]));
    let mut of_container = labels(&own);
    of_container.extend(labels(&[("io.kubernetes.container.name", names.name)]));
    let container = cri::Container {
        id: names.id.to_owned(),
        pod_sandbox_id: names.sandbox.to_owned(),
        metadata: Some(cri::ContainerMetadata { name: names.name.to_owned(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: IMAGE.to_owned(), ..cri::ImageSpec::default() }),
        image_ref: format!("registry.example/web@{DIGEST}"),
        image_id: "sha256:0000".to_owned(),
        state: cri::ContainerState::ContainerRunning.into(),
        labels: of_container,
        ..cri::Container::default()
    };
    let metadata = cri::PodSandboxMetadata {
        name: names.pod.to_owned(),
        uid: names.uid.to_owned(),
        namespace: names.namespace.to_owned(),
        attempt: 0,
    };
    let pod = cri::PodSandbox {
        id: names.sandbox.to_owned(),
        metadata: Some(metadata),
        state: cri::PodSandboxState::SandboxReady.into(),
        labels: of_pod,
        ..cri::PodSandbox::default()
    };
    (container, pod)
}

/// The other calls answer UNIMPLEMENTED.
#[tonic::async_trait]
impl RuntimeService for Cri {
    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Result<Response<cri::ListContainersResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let is_meant = |it: &&cri::Container| it.id.starts_with(&filter.id);
        let containers = self.0.lock().unwrap().0.iter().filter(is_meant).cloned().collect();
        Ok(Response::new(cri::ListContainersResponse { containers }))
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Result<Response<cri::ListPodSandboxResponse>, Status> {
        let filter = request.into_inner().filter.unwrap_or_default();
        let is_meant = |it: &&cri::PodSandbox| it.id.starts_with(&filter.id);
        let items = self.0.lock().unwrap().1.iter().filter(is_meant).cloned().collect();
        Ok(Response::new(cri::ListPodSandboxResponse { items }))
    }
}
