//! Every method, called once; of streams the first answer counts.

use lepton_host_api::v1 as api;
use lepton_host_api::v1::exec_request::Message;
use lepton_host_api::v1::logs_request::Source;
use tonic::codegen::tokio_stream::{self, Stream};
use tonic::{Code, Response, Status, Streaming};

use crate::client::Client;

/// The code that a caller of the right role gets, where there is no container runtime and no machine to look at.
pub(crate) fn expected(method: &str) -> Code {
    match method {
        "Pods" | "Containers" | "Images" | "Exec" => Code::Unavailable,
        _ => Code::Ok,
    }
}

async fn first<T>(answer: Result<Response<Streaming<T>>, Status>) -> Result<(), Status> {
    let first = answer?.into_inner().message().await?;
    first.map(drop).ok_or_else(|| Status::data_loss("the stream is empty"))
}

fn done<T>(answer: Result<Response<T>, Status>) -> Result<(), Status> {
    answer.map(drop)
}

fn program() -> impl Stream<Item = api::ExecRequest> + Send + 'static {
    let target = api::ContainerTarget { pod: String::new(), container: "web".into() };
    let start =
        api::ExecStart { container: Some(target), command: vec!["/bin/true".into()], ..Default::default() };
    tokio_stream::iter([api::ExecRequest { message: Some(Message::Start(start)) }])
}

pub(crate) async fn call(client: &Client, method: &str) -> Result<(), Status> {
    let (mut host, name) = (client.host(), "web".to_owned());
    let text = "[[files]]\npath = '/etc/motd'\ncontent = 'hunter2'\n".to_owned();
    match method {
        "Version" => done(host.version(api::VersionRequest {}).await),
        "Status" => done(host.status(api::StatusRequest {}).await),
        "Services" => done(host.services(api::ServicesRequest::default()).await),
        "StartService" => done(host.start_service(api::StartServiceRequest { name }).await),
        "StopService" => done(host.stop_service(api::StopServiceRequest { name }).await),
        "RestartService" => done(host.restart_service(api::RestartServiceRequest { name }).await),
        "Events" => first(host.events(api::EventsRequest::default()).await).await,
        "Logs" => {
            let request =
                api::LogsRequest { source: Some(Source::Service(name)), follow: true, ..Default::default() };
            first(host.logs(request).await).await
        }
        "Dmesg" => first(host.dmesg(api::DmesgRequest::default()).await).await,
        "Top" => first(host.top(api::TopRequest { interval_ms: 200, count: 1 }).await).await,
        "Processes" => done(host.processes(api::ProcessesRequest {}).await),
        "Network" => done(host.network(api::NetworkRequest {}).await),
        "Time" => done(host.time(api::TimeRequest {}).await),
        "Disks" => done(host.disks(api::DisksRequest {}).await),
        "Mounts" => done(host.mounts(api::MountsRequest {}).await),
        "GetConfig" => done(host.get_config(api::GetConfigRequest::default()).await),
        "DiffConfig" => done(host.diff_config(api::DiffConfigRequest { text }).await),
        "CheckConfig" => done(host.check_config(api::CheckConfigRequest { text }).await),
        "ApplyConfig" => {
            let request = api::ApplyConfigRequest { text, expected_revision: "r-1".into(), try_s: None };
            done(host.apply_config(request).await)
        }
        "ConfirmConfig" => done(host.confirm_config(api::ConfirmConfigRequest { id: "t-1".into() }).await),
        "Pods" => done(host.pods(api::PodsRequest::default()).await),
        "Containers" => done(host.containers(api::ContainersRequest::default()).await),
        "Images" => done(host.images(api::ImagesRequest {}).await),
        "Exec" => first(host.exec(program()).await).await,
        "Reboot" => done(host.reboot(api::RebootRequest {}).await),
        "Poweroff" => done(host.poweroff(api::PoweroffRequest {}).await),
        "Reset" => done(host.reset(api::ResetRequest { later: true }).await),
        "SupportBundle" => first(host.support_bundle(api::SupportBundleRequest { log_lines: 5 }).await).await,
        other => panic!("the test does not know {other}"),
    }
}
