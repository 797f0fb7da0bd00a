//! The methods of the API. Whoever gets here may call them (`gate.rs`).

mod bundle;
mod config;
pub(crate) mod exec;
mod figures;
pub(crate) mod logs;
mod network;
mod power;
mod processes;
mod services;
mod status;
mod storage;
mod workloads;

use std::sync::Arc;

use lepton_host_api::v1 as api;
use lepton_host_api::v1::host_server::Host;
use lepton_runtime_client::client::Client;
use tonic::{Request, Response, Status, Streaming};

use crate::feed::Feed;
use crate::pid1::Pid1;
use crate::places::Places;
use crate::trusted::Trusted;
use crate::watch::Watch;

/// All that methods need.
#[derive(Clone, Debug)]
pub(crate) struct Methods {
    pub(crate) places: Arc<Places>,
    pub(crate) pid1: Arc<Pid1>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) trusted: Arc<Trusted>,
}

type Answer<T> = Result<Response<T>, Status>;

impl Methods {
    pub(crate) fn new(places: Arc<Places>, trusted: Arc<Trusted>) -> Self {
        let pid1 = Arc::new(Pid1::new(places.control.clone()));
        Self { watch: Arc::new(Watch::new(Arc::clone(&pid1))), pid1, places, trusted }
    }

    /// The container runtime; nothing is connected yet.
    fn runtime(&self) -> Result<Client, Status> {
        Client::new(&self.places.runtime).map_err(|error| workloads::failed(&error))
    }
}

/// Reads files, which may take a while where there are many.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    let work = tokio::task::spawn_blocking(work).await;
    work.unwrap_or_else(|_| Err(Status::internal("the host could not be read")))
}

#[tonic::async_trait]
impl Host for Methods {
    type EventsStream = Feed<api::EventsResponse>;
    type LogsStream = Feed<api::LogsResponse>;
    type DmesgStream = Feed<api::DmesgResponse>;
    type TopStream = Feed<api::TopResponse>;
    type ExecStream = Feed<api::ExecResponse>;
    type SupportBundleStream = Feed<api::SupportBundleResponse>;

    async fn version(&self, request: Request<api::VersionRequest>) -> Answer<api::VersionResponse> {
        self.version_of(&request).await
    }

    async fn status(&self, _: Request<api::StatusRequest>) -> Answer<api::StatusResponse> {
        self.whole_status().await.map(Response::new)
    }

    async fn services(&self, request: Request<api::ServicesRequest>) -> Answer<api::ServicesResponse> {
        self.list_services(&request.into_inner().name).await.map(Response::new)
    }

    async fn start_service(
        &self,
        request: Request<api::StartServiceRequest>,
    ) -> Answer<api::StartServiceResponse> {
        self.start(request).await
    }

    async fn stop_service(
        &self,
        request: Request<api::StopServiceRequest>,
    ) -> Answer<api::StopServiceResponse> {
        self.stop(request).await
    }

    async fn restart_service(
        &self,
        request: Request<api::RestartServiceRequest>,
    ) -> Answer<api::RestartServiceResponse> {
        self.restart(request).await
    }

    async fn events(&self, request: Request<api::EventsRequest>) -> Answer<Self::EventsStream> {
        self.watch_services(request.into_inner()).await
    }

    async fn logs(&self, request: Request<api::LogsRequest>) -> Answer<Self::LogsStream> {
        self.read_log(request.into_inner()).await
    }

    async fn dmesg(&self, request: Request<api::DmesgRequest>) -> Answer<Self::DmesgStream> {
        self.kernel_log(request.into_inner()).await
    }

    async fn top(&self, request: Request<api::TopRequest>) -> Answer<Self::TopStream> {
        self.figures(&request.into_inner())
    }

    async fn processes(&self, _: Request<api::ProcessesRequest>) -> Answer<api::ProcessesResponse> {
        self.all_processes().await.map(Response::new)
    }

    async fn network(&self, _: Request<api::NetworkRequest>) -> Answer<api::NetworkResponse> {
        self.whole_network().await.map(Response::new)
    }

    async fn time(&self, _: Request<api::TimeRequest>) -> Answer<api::TimeResponse> {
        self.clock().await.map(Response::new)
    }

    async fn disks(&self, _: Request<api::DisksRequest>) -> Answer<api::DisksResponse> {
        self.all_disks().await.map(Response::new)
    }

    async fn mounts(&self, _: Request<api::MountsRequest>) -> Answer<api::MountsResponse> {
        self.all_mounts().await.map(Response::new)
    }

    async fn get_config(&self, request: Request<api::GetConfigRequest>) -> Answer<api::GetConfigResponse> {
        self.machine_config(&request).await
    }

    async fn diff_config(&self, request: Request<api::DiffConfigRequest>) -> Answer<api::DiffConfigResponse> {
        self.diff(request.into_inner().text).await.map(Response::new)
    }

    async fn check_config(
        &self,
        request: Request<api::CheckConfigRequest>,
    ) -> Answer<api::CheckConfigResponse> {
        self.check(request.into_inner().text).await.map(Response::new)
    }

    async fn apply_config(
        &self,
        request: Request<api::ApplyConfigRequest>,
    ) -> Answer<api::ApplyConfigResponse> {
        self.apply(request).await
    }

    async fn confirm_config(
        &self,
        request: Request<api::ConfirmConfigRequest>,
    ) -> Answer<api::ConfirmConfigResponse> {
        self.confirm(request).await
    }

    async fn pods(&self, request: Request<api::PodsRequest>) -> Answer<api::PodsResponse> {
        self.all_pods(&request.into_inner().namespace).await.map(Response::new)
    }

    async fn containers(&self, request: Request<api::ContainersRequest>) -> Answer<api::ContainersResponse> {
        self.all_containers(request.into_inner().all).await.map(Response::new)
    }

    async fn images(&self, _: Request<api::ImagesRequest>) -> Answer<api::ImagesResponse> {
        self.all_images().await.map(Response::new)
    }

    async fn exec(&self, request: Request<Streaming<api::ExecRequest>>) -> Answer<Self::ExecStream> {
        self.run_program(request).await
    }

    async fn reboot(&self, request: Request<api::RebootRequest>) -> Answer<api::RebootResponse> {
        self.start_again(request).await
    }

    async fn poweroff(&self, request: Request<api::PoweroffRequest>) -> Answer<api::PoweroffResponse> {
        self.switch_off(request).await
    }

    async fn reset(&self, request: Request<api::ResetRequest>) -> Answer<api::ResetResponse> {
        self.empty_state(request).await
    }

    async fn support_bundle(
        &self,
        request: Request<api::SupportBundleRequest>,
    ) -> Answer<Self::SupportBundleStream> {
        self.bundle(request)
    }
}
