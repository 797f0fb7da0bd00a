//! The conversation with the runtime: pods and containers by CRI. What must hold is the judge's matter.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use lepton_cri::v1 as cri;
use lepton_cri::v1::image_service_client::ImageServiceClient;
use lepton_cri::v1::runtime_service_client::RuntimeServiceClient;
use tonic::transport::{Channel, Endpoint};

use crate::host::PATIENCE;

const SOCKET: &str = "unix:///run/lepton/runtime.sock";
const LOGS: &str = "/run/lepton/runtime-tests/logs";
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// The image that the operating system brings.
pub(crate) const IMAGE: &str = "localhost/shell:1";

/// A connection.
pub(crate) struct Client {
    pub(crate) runtime: RuntimeServiceClient<Channel>,
    pub(crate) images: ImageServiceClient<Channel>,
}

/// A pod that is there.
pub(crate) struct Pod {
    pub(crate) id: String,
    network: cri::NamespaceMode,
}

/// A pod that is wanted.
pub(crate) struct PodConfig {
    name: String,
    network: cri::NamespaceMode,
    ports: Vec<cri::PortMapping>,
}

impl PodConfig {
    /// One in the host's network.
    pub(crate) fn host(name: &str) -> Self {
        Self { name: name.to_owned(), network: cri::NamespaceMode::Node, ports: Vec::new() }
    }

    /// One in a network of its own.
    pub(crate) fn own_network(name: &str) -> Self {
        Self { network: cri::NamespaceMode::Pod, ..Self::host(name) }
    }

    /// The same with a port of the host that leads to one of the pod.
    pub(crate) fn with_port(mut self, host: u16, pod: u16) -> Self {
        let (host_port, container_port) = (i32::from(host), i32::from(pod));
        self.ports.push(cri::PortMapping { host_port, container_port, ..cri::PortMapping::default() });
        self
    }
}

/// What a call's refusal says.
#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
pub(crate) fn refused(status: tonic::Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}

impl Client {
    /// Connects; the socket is there when the service is ready.
    pub(crate) async fn connect() -> Result<Self, String> {
        let channel = Endpoint::from_static(SOCKET).connect().await.map_err(|error| format!("{error:?}"))?;
        let runtime = RuntimeServiceClient::new(channel.clone());
        Ok(Self { runtime, images: ImageServiceClient::new(channel) })
    }

    /// Makes a pod.
    pub(crate) async fn pod(&mut self, wanted: &PodConfig) -> Result<Pod, String> {
        let PodConfig { name, network, ports } = wanted;
        let network = *network;
        fs::create_dir_all(LOGS).map_err(|error| error.to_string())?;
        let context = cri::LinuxSandboxSecurityContext {
            namespace_options: Some(namespaces(network)),
            ..cri::LinuxSandboxSecurityContext::default()
        };
        let config = cri::PodSandboxConfig {
            metadata: Some(cri::PodSandboxMetadata {
                name: name.clone(),
                uid: format!("uid-{name}"),
                namespace: "default".to_owned(),
                attempt: 0,
            }),
            log_directory: LOGS.to_owned(),
            port_mappings: ports.clone(),
            linux: Some(cri::LinuxPodSandboxConfig {
                security_context: Some(context),
                ..cri::LinuxPodSandboxConfig::default()
            }),
            ..cri::PodSandboxConfig::default()
        };
        let request =
            cri::RunPodSandboxRequest { config: Some(config), ..cri::RunPodSandboxRequest::default() };
        let id = self.runtime.run_pod_sandbox(request).await.map_err(refused)?.into_inner().pod_sandbox_id;
        Ok(Pod { id, network })
    }

    /// Its addresses; none in the host's network.
    pub(crate) async fn addresses(&mut self, pod: &Pod) -> Result<Vec<String>, String> {
        let request = cri::PodSandboxStatusRequest { pod_sandbox_id: pod.id.clone(), verbose: false };
        let answer = self.runtime.pod_sandbox_status(request).await.map_err(refused)?.into_inner();
        let network = answer.status.and_then(|status| status.network).unwrap_or_default();
        let more = network.additional_ips.into_iter().map(|other| other.ip);
        Ok(std::iter::once(network.ip).chain(more).filter(|address| !address.is_empty()).collect())
    }

    /// Stops and removes it.
    pub(crate) async fn remove(&mut self, pod: Pod) -> Result<(), String> {
        let pod_sandbox_id = pod.id;
        let stop = cri::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() };
        self.runtime.stop_pod_sandbox(stop).await.map_err(refused)?;
        let remove = cri::RemovePodSandboxRequest { pod_sandbox_id };
        self.runtime.remove_pod_sandbox(remove).await.map_err(refused).map(drop)
    }

    /// Creates and starts a container that runs a script.
    pub(crate) async fn start(&mut self, pod: &Pod, name: &str, script: &str) -> Result<String, String> {
        let context = cri::LinuxContainerSecurityContext {
            namespace_options: Some(namespaces(pod.network)),
            seccomp: Some(cri::SecurityProfile::default()),
            ..cri::LinuxContainerSecurityContext::default()
        };
        let config = cri::ContainerConfig {
            metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
            image: Some(cri::ImageSpec { image: IMAGE.to_owned(), ..cri::ImageSpec::default() }),
            command: shell(script),
            log_path: format!("{name}.log"),
            linux: Some(cri::LinuxContainerConfig {
                security_context: Some(context),
                ..cri::LinuxContainerConfig::default()
            }),
            ..cri::ContainerConfig::default()
        };
        let pod_sandbox_id = pod.id.clone();
        let request =
            cri::CreateContainerRequest { pod_sandbox_id, config: Some(config), sandbox_config: None };
        let id = self.runtime.create_container(request).await.map_err(refused)?.into_inner().container_id;
        let request = cri::StartContainerRequest { container_id: id.clone() };
        self.runtime.start_container(request).await.map_err(refused)?;
        Ok(id)
    }

    /// Its status.
    pub(crate) async fn status(&mut self, id: &str) -> Result<cri::ContainerStatus, String> {
        let request = cri::ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer = self.runtime.container_status(request).await.map_err(refused)?.into_inner();
        answer.status.ok_or_else(|| "the status is empty".to_owned())
    }

    /// Waits for its end, and removes it; gives its exit code and its log.
    pub(crate) async fn end(&mut self, id: &str) -> Result<(i32, String), String> {
        let start = Instant::now();
        loop {
            let status = self.status(id).await?;
            if status.state() == cri::ContainerState::ContainerExited {
                let log =
                    fs::read_to_string(Path::new(&status.log_path)).map_err(|error| error.to_string())?;
                let request = cri::RemoveContainerRequest { container_id: id.to_owned() };
                self.runtime.remove_container(request).await.map_err(refused)?;
                return Ok((status.exit_code, log));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("the container does not end: {status:?}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Runs a script in a container; zero seconds are any number of them.
    pub(crate) async fn exec(
        &mut self,
        id: &str,
        script: &str,
        timeout: i64,
    ) -> Result<cri::ExecSyncResponse, String> {
        let cmd = shell(script);
        let request = cri::ExecSyncRequest { container_id: id.to_owned(), cmd, timeout };
        Ok(self.runtime.exec_sync(request).await.map_err(refused)?.into_inner())
    }

    /// Stops a container.
    pub(crate) async fn stop(&mut self, id: &str, timeout: i64) -> Result<(), String> {
        let request = cri::StopContainerRequest { container_id: id.to_owned(), timeout };
        self.runtime.stop_container(request).await.map_err(refused).map(drop)
    }
}

fn shell(script: &str) -> Vec<String> {
    ["/usr/bin/sh", "-c", script].map(str::to_owned).to_vec()
}

fn namespaces(network: cri::NamespaceMode) -> cri::NamespaceOption {
    cri::NamespaceOption {
        network: network.into(),
        pid: cri::NamespaceMode::Container.into(),
        ..cri::NamespaceOption::default()
    }
}
