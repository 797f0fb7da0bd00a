//! RuntimeService of CRI. What is not here answers UNIMPLEMENTED.

use std::sync::Arc;
use std::time::Duration;

use lepton_cri::v1 as cri;
use lepton_cri::v1::runtime_service_server::RuntimeService;
use lepton_runtime_streaming as streaming;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::{Answers, Service, in_parts};
use crate::container::{Container, Life};
use crate::error::{Failure, chain};
use crate::sandbox::{Resources, Sandbox};
use crate::{metrics, status, user_namespace};

type Answer<T> = Result<Response<T>, Status>;

/// What crictl and kubelet print.
const NAME: &str = "lepton";
/// The version of CRI.
const API: &str = "v1";

fn answer<T>(answer: T) -> Answer<T> {
    Ok(Response::new(answer))
}

fn refused(error: streaming::RequestError) -> Failure {
    Failure::invalid(error)
}

impl Service {
    fn sandboxes(&self, filter: Option<&cri::PodSandboxFilter>) -> Vec<Arc<Sandbox>> {
        let mut found = self.0.sandboxes();
        found.retain(|sandbox| status::fits_sandbox(sandbox, filter));
        found
    }

    fn containers(&self, filter: Option<&cri::ContainerFilter>) -> Vec<Arc<Container>> {
        let mut found = self.0.containers();
        found.retain(|container| status::fits_container(container, filter));
        found
    }

    async fn all_container_stats(
        &self,
        filter: Option<cri::ContainerStatsFilter>,
    ) -> Vec<cri::ContainerStats> {
        let filter = filter.map(|filter| cri::ContainerFilter {
            id: filter.id,
            pod_sandbox_id: filter.pod_sandbox_id,
            label_selector: filter.label_selector,
            state: None,
        });
        let mut stats = Vec::new();
        for container in self.containers(filter.as_ref()) {
            stats.push(self.0.container_stats(&container).await);
        }
        stats
    }

    async fn all_sandbox_stats(
        &self,
        filter: Option<cri::PodSandboxStatsFilter>,
    ) -> Vec<cri::PodSandboxStats> {
        let filter = filter.map(|filter| cri::PodSandboxFilter {
            id: filter.id,
            label_selector: filter.label_selector,
            state: None,
        });
        let mut stats = Vec::new();
        for sandbox in self.sandboxes(filter.as_ref()) {
            if !sandbox.record().stopped {
                stats.push(self.0.sandbox_stats(&sandbox).await);
            }
        }
        stats
    }

    fn urls(&self) -> Result<&streaming::Urls, Failure> {
        self.0.urls.get().ok_or_else(|| Failure::internal("the streaming server does not run"))
    }

    /// A container that a client may be connected to.
    fn running(&self, id: &str) -> Result<String, Failure> {
        let container = self.0.container(id)?;
        if container.life() != Life::Running {
            return Err(Failure::precondition(format!("container {} does not run", container.id())));
        }
        Ok(container.id())
    }
}

/// Seconds of CRI; kubelet means "at once" by none.
fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

#[tonic::async_trait]
impl RuntimeService for Service {
    async fn version(&self, _: Request<cri::VersionRequest>) -> Answer<cri::VersionResponse> {
        answer(cri::VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: NAME.to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: API.to_owned(),
        })
    }

    async fn status(&self, request: Request<cri::StatusRequest>) -> Answer<cri::StatusResponse> {
        let network = self.0.cni.status().await;
        let message = network.as_ref().err().map(|error| chain(error)).unwrap_or_default();
        let condition = |kind: &str, status: bool, reason: &str, message: String| cri::RuntimeCondition {
            r#type: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message,
        };
        let reason = if network.is_ok() { "" } else { "NetworkPluginNotReady" };
        let conditions = vec![
            condition("RuntimeReady", true, "", String::new()),
            condition("NetworkReady", network.is_ok(), reason, message),
        ];
        let user_namespaces = user_namespace::are_supported();
        let features = cri::RuntimeHandlerFeatures { recursive_read_only_mounts: true, user_namespaces };
        let mut info = std::collections::BTreeMap::new();
        if request.into_inner().verbose {
            let settings = &self.0.settings;
            let config = serde_json::json!({"run": settings.run, "state": settings.state,
                "cniConfig": settings.cni_config, "cniPlugins": settings.cni_plugins});
            info.insert("config".to_owned(), config.to_string());
        }
        answer(cri::StatusResponse {
            status: Some(cri::RuntimeStatus { conditions }),
            info,
            runtime_handlers: vec![cri::RuntimeHandler { name: String::new(), features: Some(features) }],
            features: Some(cri::RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
                mount_options: true,
            }),
        })
    }

    async fn runtime_config(
        &self,
        _: Request<cri::RuntimeConfigRequest>,
    ) -> Answer<cri::RuntimeConfigResponse> {
        let linux = cri::LinuxRuntimeConfiguration { cgroup_driver: cri::CgroupDriver::Cgroupfs.into() };
        answer(cri::RuntimeConfigResponse { linux: Some(linux) })
    }

    async fn update_runtime_config(
        &self,
        request: Request<cri::UpdateRuntimeConfigRequest>,
    ) -> Answer<cri::UpdateRuntimeConfigResponse> {
        let network = request.into_inner().runtime_config.and_then(|config| config.network_config);
        if let Some(network) = network.filter(|network| !network.pod_cidr.is_empty()) {
            self.0.cni.set_range(&network.pod_cidr).map_err(|error| Failure::invalid(chain(&error)))?;
        }
        answer(cri::UpdateRuntimeConfigResponse {})
    }

    async fn run_pod_sandbox(
        &self,
        request: Request<cri::RunPodSandboxRequest>,
    ) -> Answer<cri::RunPodSandboxResponse> {
        let request = request.into_inner();
        let config = request.config.ok_or_else(|| Failure::invalid("no configuration was given"))?;
        // On its own task, so that a client that goes away leaves nothing half made.
        let runtime = Arc::clone(&self.0);
        let made = tokio::spawn(async move { runtime.run_pod(config, &request.runtime_handler).await });
        let id = made.await.map_err(Failure::internal)??;
        answer(cri::RunPodSandboxResponse { pod_sandbox_id: id })
    }

    async fn stop_pod_sandbox(
        &self,
        request: Request<cri::StopPodSandboxRequest>,
    ) -> Answer<cri::StopPodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        let runtime = Arc::clone(&self.0);
        tokio::spawn(async move { runtime.stop_pod(&id).await }).await.map_err(Failure::internal)??;
        answer(cri::StopPodSandboxResponse {})
    }

    async fn remove_pod_sandbox(
        &self,
        request: Request<cri::RemovePodSandboxRequest>,
    ) -> Answer<cri::RemovePodSandboxResponse> {
        let id = request.into_inner().pod_sandbox_id;
        let runtime = Arc::clone(&self.0);
        tokio::spawn(async move { runtime.remove_pod(&id).await }).await.map_err(Failure::internal)??;
        answer(cri::RemovePodSandboxResponse {})
    }

    async fn pod_sandbox_status(
        &self,
        request: Request<cri::PodSandboxStatusRequest>,
    ) -> Answer<cri::PodSandboxStatusResponse> {
        let request = request.into_inner();
        let sandbox = self.0.sandbox(&request.pod_sandbox_id)?;
        let mut info = std::collections::BTreeMap::new();
        if request.verbose {
            let record = sandbox.record();
            let resources = sandbox.resources();
            let shown = serde_json::json!({"record": record, "namespaces": self.0.namespace(&record.id, "net").parent(),
                "cgroup": sandbox.cgroup(), "overhead": resources.overhead.as_ref().map(status::resources),
                "resources": resources.containers.as_ref().map(status::resources)});
            info.insert("info".to_owned(), shown.to_string());
        }
        let containers = self.0.containers_of(&sandbox.id());
        answer(cri::PodSandboxStatusResponse {
            status: Some(status::of_sandbox(&sandbox)),
            info,
            containers_statuses: containers.iter().map(|one| status::of_container(&self.0, one)).collect(),
            timestamp: lepton_runtime_shim::time::now_ns(),
        })
    }

    async fn list_pod_sandbox(
        &self,
        request: Request<cri::ListPodSandboxRequest>,
    ) -> Answer<cri::ListPodSandboxResponse> {
        let found = self.sandboxes(request.into_inner().filter.as_ref());
        answer(cri::ListPodSandboxResponse {
            items: found.iter().map(|one| status::short_sandbox(one)).collect(),
        })
    }

    async fn stream_pod_sandboxes(
        &self,
        request: Request<cri::StreamPodSandboxesRequest>,
    ) -> Answer<Answers<cri::StreamPodSandboxesResponse>> {
        let found = self.sandboxes(request.into_inner().filter.as_ref());
        let found = found.iter().map(|one| status::short_sandbox(one)).collect();
        answer(in_parts(found, |pod_sandboxes| cri::StreamPodSandboxesResponse { pod_sandboxes }))
    }

    async fn create_container(
        &self,
        request: Request<cri::CreateContainerRequest>,
    ) -> Answer<cri::CreateContainerResponse> {
        let request = request.into_inner();
        let config = request.config.ok_or_else(|| Failure::invalid("no configuration was given"))?;
        let runtime = Arc::clone(&self.0);
        let made =
            tokio::spawn(async move { runtime.create_container(&request.pod_sandbox_id, config).await });
        answer(cri::CreateContainerResponse { container_id: made.await.map_err(Failure::internal)?? })
    }

    async fn start_container(
        &self,
        request: Request<cri::StartContainerRequest>,
    ) -> Answer<cri::StartContainerResponse> {
        let id = request.into_inner().container_id;
        let runtime = Arc::clone(&self.0);
        tokio::spawn(async move { runtime.start_container(&id).await })
            .await
            .map_err(Failure::internal)??;
        answer(cri::StartContainerResponse {})
    }

    async fn stop_container(
        &self,
        request: Request<cri::StopContainerRequest>,
    ) -> Answer<cri::StopContainerResponse> {
        let request = request.into_inner();
        // On its own task: a client that goes away has asked for the end all the same.
        let runtime = Arc::clone(&self.0);
        let timeout = seconds(request.timeout);
        tokio::spawn(async move { runtime.stop_container(&request.container_id, timeout).await })
            .await
            .map_err(Failure::internal)??;
        answer(cri::StopContainerResponse {})
    }

    async fn remove_container(
        &self,
        request: Request<cri::RemoveContainerRequest>,
    ) -> Answer<cri::RemoveContainerResponse> {
        let id = request.into_inner().container_id;
        let runtime = Arc::clone(&self.0);
        tokio::spawn(async move { runtime.remove_container(&id).await })
            .await
            .map_err(Failure::internal)??;
        answer(cri::RemoveContainerResponse {})
    }

    async fn list_containers(
        &self,
        request: Request<cri::ListContainersRequest>,
    ) -> Answer<cri::ListContainersResponse> {
        let found = self.containers(request.into_inner().filter.as_ref());
        let containers = found.iter().map(|one| status::short_container(&self.0, one)).collect();
        answer(cri::ListContainersResponse { containers })
    }

    async fn stream_containers(
        &self,
        request: Request<cri::StreamContainersRequest>,
    ) -> Answer<Answers<cri::StreamContainersResponse>> {
        let found = self.containers(request.into_inner().filter.as_ref());
        let found = found.iter().map(|one| status::short_container(&self.0, one)).collect();
        answer(in_parts(found, |containers| cri::StreamContainersResponse { containers }))
    }

    async fn container_status(
        &self,
        request: Request<cri::ContainerStatusRequest>,
    ) -> Answer<cri::ContainerStatusResponse> {
        let request = request.into_inner();
        let container = self.0.container(&request.container_id)?;
        let mut info = std::collections::BTreeMap::new();
        if request.verbose {
            let record = container.record();
            let known = self.0.shim(&record.sandbox).containers().await.unwrap_or_default();
            let pid = known.iter().find(|one| one.container == record.id).map_or(0, |one| one.pid);
            let bundle = self.0.settings.container_run(&record.id).join("config.json");
            let spec: serde_json::Value = crate::files::read_json(&bundle).unwrap_or_default();
            let shown = serde_json::json!({"pid": pid, "sandboxID": record.sandbox, "runtimeSpec": spec});
            info.insert("info".to_owned(), shown.to_string());
        }
        answer(cri::ContainerStatusResponse { status: Some(status::of_container(&self.0, &container)), info })
    }

    async fn update_container_resources(
        &self,
        request: Request<cri::UpdateContainerResourcesRequest>,
    ) -> Answer<cri::UpdateContainerResourcesResponse> {
        let request = request.into_inner();
        let linux = request.linux.ok_or_else(|| Failure::invalid("no resources were given"))?;
        self.0.update_container(&request.container_id, linux).await?;
        answer(cri::UpdateContainerResourcesResponse {})
    }

    async fn update_pod_sandbox_resources(
        &self,
        request: Request<cri::UpdatePodSandboxResourcesRequest>,
    ) -> Answer<cri::UpdatePodSandboxResourcesResponse> {
        let request = request.into_inner();
        let sandbox = self.0.sandbox(&request.pod_sandbox_id)?;
        let _turn = sandbox.turn.lock().await;
        // The pod's cgroup is kubelet's, and has them already; here they are written down.
        sandbox.set_resources(Resources { overhead: request.overhead, containers: request.resources });
        sandbox.save(&self.0.settings.pod_state(&sandbox.id()))?;
        answer(cri::UpdatePodSandboxResourcesResponse {})
    }

    async fn reopen_container_log(
        &self,
        request: Request<cri::ReopenContainerLogRequest>,
    ) -> Answer<cri::ReopenContainerLogResponse> {
        self.0.reopen_log(&request.into_inner().container_id).await?;
        answer(cri::ReopenContainerLogResponse {})
    }

    async fn exec_sync(&self, request: Request<cri::ExecSyncRequest>) -> Answer<cri::ExecSyncResponse> {
        let request = request.into_inner();
        let timeout = (request.timeout > 0).then(|| seconds(request.timeout));
        answer(self.0.exec_sync(&request.container_id, &request.cmd, timeout).await?)
    }

    async fn exec(&self, request: Request<cri::ExecRequest>) -> Answer<cri::ExecResponse> {
        let cri::ExecRequest { container_id, cmd, tty, stdin, stdout, stderr } = request.into_inner();
        let container_id = self.running(&container_id)?;
        let streams = streaming::StreamSet { stdin, stdout, stderr, tty };
        let request = streaming::ExecRequest { container_id, command: cmd, streams };
        answer(cri::ExecResponse { url: self.urls()?.exec(request).map_err(refused)? })
    }

    async fn attach(&self, request: Request<cri::AttachRequest>) -> Answer<cri::AttachResponse> {
        let cri::AttachRequest { container_id, stdin, tty, stdout, stderr } = request.into_inner();
        let container = self.0.container(&container_id)?;
        let is_early = container.life() == Life::Created;
        let container_id = if is_early { container.id() } else { self.running(&container_id)? };
        let streams = streaming::StreamSet { stdin, stdout, stderr, tty };
        let request = streaming::AttachRequest { container_id, streams };
        let url = self.urls()?.attach(request).map_err(refused)?;
        if is_early {
            container.expect();
        }
        answer(cri::AttachResponse { url })
    }

    async fn port_forward(
        &self,
        request: Request<cri::PortForwardRequest>,
    ) -> Answer<cri::PortForwardResponse> {
        let request = request.into_inner();
        let sandbox = self.0.sandbox(&request.pod_sandbox_id)?;
        let wrong = |port: i32| Failure::invalid(format!("{port} is no port"));
        let ports = request.port.into_iter().map(|port| u16::try_from(port).map_err(|_| wrong(port)));
        let ports = ports.collect::<Result<Vec<_>, _>>()?;
        let request = streaming::PortForwardRequest { pod_sandbox_id: sandbox.id(), ports };
        answer(cri::PortForwardResponse { url: self.urls()?.port_forward(request).map_err(refused)? })
    }

    async fn container_stats(
        &self,
        request: Request<cri::ContainerStatsRequest>,
    ) -> Answer<cri::ContainerStatsResponse> {
        let container = self.0.container(&request.into_inner().container_id)?;
        answer(cri::ContainerStatsResponse { stats: Some(self.0.container_stats(&container).await) })
    }

    async fn list_container_stats(
        &self,
        request: Request<cri::ListContainerStatsRequest>,
    ) -> Answer<cri::ListContainerStatsResponse> {
        let stats = self.all_container_stats(request.into_inner().filter).await;
        answer(cri::ListContainerStatsResponse { stats })
    }

    async fn stream_container_stats(
        &self,
        request: Request<cri::StreamContainerStatsRequest>,
    ) -> Answer<Answers<cri::StreamContainerStatsResponse>> {
        let stats = self.all_container_stats(request.into_inner().filter).await;
        answer(in_parts(stats, |container_stats| cri::StreamContainerStatsResponse { container_stats }))
    }

    async fn pod_sandbox_stats(
        &self,
        request: Request<cri::PodSandboxStatsRequest>,
    ) -> Answer<cri::PodSandboxStatsResponse> {
        let sandbox = self.0.sandbox(&request.into_inner().pod_sandbox_id)?;
        answer(cri::PodSandboxStatsResponse { stats: Some(self.0.sandbox_stats(&sandbox).await) })
    }

    async fn list_pod_sandbox_stats(
        &self,
        request: Request<cri::ListPodSandboxStatsRequest>,
    ) -> Answer<cri::ListPodSandboxStatsResponse> {
        let stats = self.all_sandbox_stats(request.into_inner().filter).await;
        answer(cri::ListPodSandboxStatsResponse { stats })
    }

    async fn stream_pod_sandbox_stats(
        &self,
        request: Request<cri::StreamPodSandboxStatsRequest>,
    ) -> Answer<Answers<cri::StreamPodSandboxStatsResponse>> {
        let stats = self.all_sandbox_stats(request.into_inner().filter).await;
        answer(in_parts(stats, |pod_sandbox_stats| cri::StreamPodSandboxStatsResponse { pod_sandbox_stats }))
    }

    async fn list_metric_descriptors(
        &self,
        _: Request<cri::ListMetricDescriptorsRequest>,
    ) -> Answer<cri::ListMetricDescriptorsResponse> {
        answer(cri::ListMetricDescriptorsResponse { descriptors: metrics::descriptors() })
    }

    async fn list_pod_sandbox_metrics(
        &self,
        _: Request<cri::ListPodSandboxMetricsRequest>,
    ) -> Answer<cri::ListPodSandboxMetricsResponse> {
        answer(cri::ListPodSandboxMetricsResponse { pod_metrics: self.0.all_metrics().await })
    }

    async fn stream_pod_sandbox_metrics(
        &self,
        _: Request<cri::StreamPodSandboxMetricsRequest>,
    ) -> Answer<Answers<cri::StreamPodSandboxMetricsResponse>> {
        // A pod has some hundred of them, so each has a message of its own.
        let message =
            |metrics| Ok(cri::StreamPodSandboxMetricsResponse { pod_sandbox_metrics: vec![metrics] });
        let all = self.0.all_metrics().await.into_iter().map(message);
        answer(Box::pin(tokio_stream::iter(all)))
    }

    async fn get_container_events(
        &self,
        _: Request<cri::GetEventsRequest>,
    ) -> Answer<Answers<cri::ContainerEventResponse>> {
        let events = BroadcastStream::new(self.0.events.subscribe());
        // Who was too slow is told, and starts again with a list.
        let events = events.map(|event| event.map_err(|lost| Status::data_loss(lost.to_string())));
        answer(Box::pin(events))
    }
}
