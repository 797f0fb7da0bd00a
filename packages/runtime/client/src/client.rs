//! The calls of CRI that are used here, over the runtime's socket. A connection that breaks is made anew by the next call.

use std::path::{Path, PathBuf};

use lepton_cri::v1 as cri;
use lepton_cri::v1::image_service_client::ImageServiceClient;
use lepton_cri::v1::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status, Streaming};

use crate::failure::Failure;

/// Largest answer: lists of many containers with their annotations; the runtime's own limit.
const LARGEST: usize = 16 << 20;

/// A client; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: RuntimeServiceClient<Channel>,
    images: ImageServiceClient<Channel>,
}

impl Client {
    /// A client of the runtime that listens there; nothing is connected yet.
    pub fn new(socket: &Path) -> Result<Self, Failure> {
        let unreachable = |cause: String| Failure::Unreachable { socket: socket.to_owned(), cause };
        // Told here, as the transport calls a missing socket a transport error.
        std::fs::symlink_metadata(socket).map(drop).or_else(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Ok(()),
            _ => Err(unreachable(error.to_string())),
        })?;
        let channel = Endpoint::from_shared(format!("unix://{}", socket.display()))
            .map_err(|error| unreachable(error.to_string()))?
            .connect_lazy();
        Ok(Self {
            socket: socket.to_owned(),
            runtime: RuntimeServiceClient::new(channel.clone()).max_decoding_message_size(LARGEST),
            images: ImageServiceClient::new(channel).max_decoding_message_size(LARGEST),
        })
    }

    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Failure> {
        answer.map(Response::into_inner).map_err(|status| Failure::of_call(&self.socket, &status))
    }

    /// What a stream of answers said last.
    pub fn broken(&self, status: &Status) -> Failure {
        Failure::of_call(&self.socket, status)
    }

    /// All pods with these labels.
    pub async fn pods(&self, labels: &[(&str, &str)]) -> Result<Vec<cri::PodSandbox>, Failure> {
        let selector = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let filter = cri::PodSandboxFilter { label_selector: selector, ..Default::default() };
        let request = cri::ListPodSandboxRequest { filter: Some(filter) };
        Ok(self.answer(self.runtime.clone().list_pod_sandbox(request).await)?.items)
    }

    /// All containers with these labels.
    pub async fn labelled(&self, labels: &[(&str, &str)]) -> Result<Vec<cri::Container>, Failure> {
        let selector = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let filter = cri::ContainerFilter { label_selector: selector, ..Default::default() };
        let request = cri::ListContainersRequest { filter: Some(filter) };
        Ok(self.answer(self.runtime.clone().list_containers(request).await)?.containers)
    }

    /// All containers, or those of one pod.
    pub async fn containers(&self, pod: Option<&str>) -> Result<Vec<cri::Container>, Failure> {
        let filter =
            pod.map(|pod| cri::ContainerFilter { pod_sandbox_id: pod.to_owned(), ..Default::default() });
        let request = cri::ListContainersRequest { filter };
        Ok(self.answer(self.runtime.clone().list_containers(request).await)?.containers)
    }

    /// A pod's status.
    pub async fn pod_status(&self, id: &str) -> Result<cri::PodSandboxStatus, Failure> {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: id.to_owned(), verbose: false };
        Ok(self.answer(self.runtime.clone().pod_sandbox_status(request).await)?.status.unwrap_or_default())
    }

    /// A container's status; with `verbose` also what the runtime knows besides.
    pub async fn status(&self, id: &str, verbose: bool) -> Result<cri::ContainerStatusResponse, Failure> {
        let request = cri::ContainerStatusRequest { container_id: id.to_owned(), verbose };
        self.answer(self.runtime.clone().container_status(request).await)
    }

    /// Makes a pod.
    pub async fn run_pod(&self, config: cri::PodSandboxConfig) -> Result<String, Failure> {
        let request = cri::RunPodSandboxRequest { config: Some(config), ..Default::default() };
        Ok(self.answer(self.runtime.clone().run_pod_sandbox(request).await)?.pod_sandbox_id)
    }

    /// Makes a container in a pod.
    pub async fn create(
        &self,
        pod: &str,
        config: cri::ContainerConfig,
        pod_config: cri::PodSandboxConfig,
    ) -> Result<String, Failure> {
        let request = cri::CreateContainerRequest {
            pod_sandbox_id: pod.to_owned(),
            config: Some(config),
            sandbox_config: Some(pod_config),
        };
        Ok(self.answer(self.runtime.clone().create_container(request).await)?.container_id)
    }

    /// Starts a container.
    pub async fn start(&self, id: &str) -> Result<(), Failure> {
        let request = cri::StartContainerRequest { container_id: id.to_owned() };
        self.answer(self.runtime.clone().start_container(request).await).map(drop)
    }

    /// Stops a container: its stop signal, the seconds, SIGKILL.
    pub async fn stop(&self, id: &str, seconds: u32) -> Result<(), Failure> {
        let request = cri::StopContainerRequest { container_id: id.to_owned(), timeout: i64::from(seconds) };
        self.answer(self.runtime.clone().stop_container(request).await).map(drop)
    }

    /// Ends all of a pod.
    pub async fn stop_pod(&self, id: &str) -> Result<(), Failure> {
        let request = cri::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.answer(self.runtime.clone().stop_pod_sandbox(request).await).map(drop)
    }

    /// Removes all of a pod.
    pub async fn remove_pod(&self, id: &str) -> Result<(), Failure> {
        let request = cri::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        self.answer(self.runtime.clone().remove_pod_sandbox(request).await).map(drop)
    }

    /// Where to connect to a new program in a container.
    pub async fn exec(&self, request: cri::ExecRequest) -> Result<String, Failure> {
        Ok(self.answer(self.runtime.clone().exec(request).await)?.url)
    }

    /// Where to connect to a container's own program.
    pub async fn attach(&self, request: cri::AttachRequest) -> Result<String, Failure> {
        Ok(self.answer(self.runtime.clone().attach(request).await)?.url)
    }

    /// Where to connect to a port of a pod.
    pub async fn port_forward(&self, pod: &str, port: u16) -> Result<String, Failure> {
        let request = cri::PortForwardRequest { pod_sandbox_id: pod.to_owned(), port: vec![i32::from(port)] };
        Ok(self.answer(self.runtime.clone().port_forward(request).await)?.url)
    }

    /// What happens to containers from now on.
    pub async fn events(&self) -> Result<Streaming<cri::ContainerEventResponse>, Failure> {
        self.answer(self.runtime.clone().get_container_events(cri::GetEventsRequest {}).await)
    }

    /// All images.
    pub async fn images(&self) -> Result<Vec<cri::Image>, Failure> {
        let request = cri::ListImagesRequest::default();
        Ok(self.answer(self.images.clone().list_images(request).await)?.images)
    }

    /// An image by a name or an id, if it is there.
    pub async fn image(&self, name: &str) -> Result<Option<cri::Image>, Failure> {
        let request = cri::ImageStatusRequest { image: Some(image(name)), verbose: false };
        Ok(self.answer(self.images.clone().image_status(request).await)?.image)
    }

    /// Takes an image from its registry; gives its id.
    pub async fn pull(&self, name: &str, auth: Option<cri::AuthConfig>) -> Result<String, Failure> {
        let request = cri::PullImageRequest { image: Some(image(name)), auth, sandbox_config: None };
        Ok(self.answer(self.images.clone().pull_image(request).await)?.image_ref)
    }

    /// Removes an image.
    pub async fn remove_image(&self, name: &str) -> Result<(), Failure> {
        let request = cri::RemoveImageRequest { image: Some(image(name)) };
        self.answer(self.images.clone().remove_image(request).await).map(drop)
    }
}

fn image(name: &str) -> cri::ImageSpec {
    cri::ImageSpec { image: name.to_owned(), ..cri::ImageSpec::default() }
}
