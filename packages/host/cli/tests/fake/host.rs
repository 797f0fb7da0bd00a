//! The service of a host that is none.

use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use lepton_host_api::roles::{METHODS, Role};
use lepton_host_api::v1 as api;
use lepton_host_api::v1::exec_request::Message as Ask;
use lepton_host_api::v1::exec_response::Message as Answer;
use lepton_host_api::v1::host_server::Host;
use lepton_host_api::v1::logs_request::Source;
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::Caller;
use super::answers;

/// A host.
pub(crate) struct Fake {
    name: String,
    /// Of the machine config; counts its changes.
    revision: Mutex<u32>,
    trial: Mutex<Option<api::ConfigTrial>>,
    /// Whether somebody wanted to go on with a log.
    was_asked_again: AtomicBool,
}

/// Answers that end, or go on until the caller goes.
pub(crate) struct Many<T>(mpsc::Receiver<Result<T, Status>>);

impl<T> Stream for Many<T> {
    type Item = Result<T, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

impl<T: Send + 'static> Many<T> {
    /// Answers, and then nothing.
    fn and_no_end(list: Vec<T>) -> Self {
        let (send, answers) = mpsc::channel(list.len().max(1));
        list.into_iter().for_each(|one| drop(send.try_send(Ok(one))));
        tokio::spawn(async move { send.closed().await });
        Self(answers)
    }
}

fn many<T>(list: Vec<T>) -> Result<Response<Many<T>>, Status> {
    let (send, answers) = mpsc::channel(list.len().max(1));
    list.into_iter().for_each(|one| drop(send.try_send(Ok(one))));
    Ok(Response::new(Many(answers)))
}

fn ok<T>(answer: T) -> Result<Response<T>, Status> {
    Ok(Response::new(answer))
}

impl Fake {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            revision: Mutex::new(1),
            trial: Mutex::new(None),
            was_asked_again: AtomicBool::new(false),
        }
    }

    /// The caller, if it may.
    fn caller<T>(&self, request: &Request<T>, method: &str) -> Result<Caller, Status> {
        let root = Caller { id: "uid:0".to_owned(), role: Some(Role::Admin) };
        let caller = request.extensions().get::<Caller>().cloned().unwrap_or(root);
        let needed = METHODS.iter().find(|one| one.name == method).unwrap().role;
        match caller.role {
            Some(role) if role >= needed => Ok(caller),
            _ => Err(Status::permission_denied(format!(
                "{method} needs the role {needed}, and the caller is {}",
                caller.id
            ))),
        }
    }

    fn revision(&self) -> String {
        format!("r{}", self.revision.lock().unwrap())
    }

    fn service(&self, name: &str) -> Result<api::Service, Status> {
        let found = answers::services().into_iter().find(|service| service.name == name);
        found.ok_or_else(|| Status::not_found(format!("there is no service {name:?}")))
    }
}

#[tonic::async_trait]
impl Host for Fake {
    type EventsStream = Many<api::EventsResponse>;
    type LogsStream = Many<api::LogsResponse>;
    type DmesgStream = Many<api::DmesgResponse>;
    type TopStream = Many<api::TopResponse>;
    type ExecStream = Many<api::ExecResponse>;
    type SupportBundleStream = Many<api::SupportBundleResponse>;

    async fn version(
        &self,
        request: Request<api::VersionRequest>,
    ) -> Result<Response<api::VersionResponse>, Status> {
        let caller = self.caller(&request, "Version")?;
        ok(answers::version(&self.name, &caller))
    }

    async fn status(
        &self,
        request: Request<api::StatusRequest>,
    ) -> Result<Response<api::StatusResponse>, Status> {
        self.caller(&request, "Status")?;
        ok(answers::status(&self.name))
    }

    async fn services(
        &self,
        request: Request<api::ServicesRequest>,
    ) -> Result<Response<api::ServicesResponse>, Status> {
        self.caller(&request, "Services")?;
        let name = request.into_inner().name;
        let services = if name.is_empty() { answers::services() } else { vec![self.service(&name)?] };
        ok(api::ServicesResponse { services })
    }

    async fn start_service(
        &self,
        request: Request<api::StartServiceRequest>,
    ) -> Result<Response<api::StartServiceResponse>, Status> {
        self.caller(&request, "StartService")?;
        ok(api::StartServiceResponse { service: Some(self.service(&request.into_inner().name)?) })
    }

    async fn stop_service(
        &self,
        request: Request<api::StopServiceRequest>,
    ) -> Result<Response<api::StopServiceResponse>, Status> {
        self.caller(&request, "StopService")?;
        ok(api::StopServiceResponse { service: Some(self.service(&request.into_inner().name)?) })
    }

    async fn restart_service(
        &self,
        request: Request<api::RestartServiceRequest>,
    ) -> Result<Response<api::RestartServiceResponse>, Status> {
        self.caller(&request, "RestartService")?;
        ok(api::RestartServiceResponse { service: Some(self.service(&request.into_inner().name)?) })
    }

    async fn events(
        &self,
        request: Request<api::EventsRequest>,
    ) -> Result<Response<Self::EventsStream>, Status> {
        self.caller(&request, "Events")?;
        many(answers::events())
    }

    async fn logs(&self, request: Request<api::LogsRequest>) -> Result<Response<Self::LogsStream>, Status> {
        self.caller(&request, "Logs")?;
        let asked = request.into_inner();
        let whose = match asked.source {
            Some(Source::Service(name)) => self.service(&name)?.name,
            Some(Source::Container(target)) if target.pod == "default/web" || target.pod == "web" => {
                format!("web/{}", target.container)
            }
            _ => return Err(Status::not_found("there is no such pod or container")),
        };
        let after = asked.after.map(|after| after.number);
        // It has just started.
        if after.is_some() && !self.was_asked_again.swap(true, Ordering::Relaxed) {
            return Err(Status::not_found("there is no such service yet"));
        }
        let answers = answers::logs(&whose, asked.tail, asked.since_unix_ms, after);
        match asked.follow {
            // Whoever begins gets no more than that for now.
            true if after.is_none() => Ok(Response::new(Many::and_no_end(answers))),
            _ => many(answers),
        }
    }

    async fn dmesg(
        &self,
        request: Request<api::DmesgRequest>,
    ) -> Result<Response<Self::DmesgStream>, Status> {
        self.caller(&request, "Dmesg")?;
        many(answers::dmesg())
    }

    async fn top(&self, request: Request<api::TopRequest>) -> Result<Response<Self::TopStream>, Status> {
        self.caller(&request, "Top")?;
        let count = request.into_inner().count.max(1);
        many((0..count).map(|_| answers::top()).collect())
    }

    async fn processes(
        &self,
        request: Request<api::ProcessesRequest>,
    ) -> Result<Response<api::ProcessesResponse>, Status> {
        self.caller(&request, "Processes")?;
        ok(answers::processes())
    }

    async fn network(
        &self,
        request: Request<api::NetworkRequest>,
    ) -> Result<Response<api::NetworkResponse>, Status> {
        self.caller(&request, "Network")?;
        ok(answers::network(&self.name))
    }

    async fn time(&self, request: Request<api::TimeRequest>) -> Result<Response<api::TimeResponse>, Status> {
        self.caller(&request, "Time")?;
        ok(answers::time())
    }

    async fn disks(
        &self,
        request: Request<api::DisksRequest>,
    ) -> Result<Response<api::DisksResponse>, Status> {
        self.caller(&request, "Disks")?;
        ok(answers::disks())
    }

    async fn mounts(
        &self,
        request: Request<api::MountsRequest>,
    ) -> Result<Response<api::MountsResponse>, Status> {
        self.caller(&request, "Mounts")?;
        if self.name == "slow" {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        ok(answers::mounts())
    }

    async fn get_config(
        &self,
        request: Request<api::GetConfigRequest>,
    ) -> Result<Response<api::GetConfigResponse>, Status> {
        let caller = self.caller(&request, "GetConfig")?;
        if request.into_inner().secrets && caller.role < Some(Role::Admin) {
            return Err(Status::permission_denied("secrets need the role admin"));
        }
        let trial = self.trial.lock().unwrap().clone();
        ok(answers::config(&self.name, self.revision(), trial))
    }

    async fn diff_config(
        &self,
        request: Request<api::DiffConfigRequest>,
    ) -> Result<Response<api::DiffConfigResponse>, Status> {
        self.caller(&request, "DiffConfig")?;
        let differences = answers::differences(&self.name, &request.into_inner().text);
        ok(api::DiffConfigResponse { differences, revision: self.revision(), left_out: 0, persistent: true })
    }

    async fn check_config(
        &self,
        request: Request<api::CheckConfigRequest>,
    ) -> Result<Response<api::CheckConfigResponse>, Status> {
        self.caller(&request, "CheckConfig")?;
        ok(api::CheckConfigResponse { problems: answers::problems(&request.into_inner().text) })
    }

    async fn apply_config(
        &self,
        request: Request<api::ApplyConfigRequest>,
    ) -> Result<Response<api::ApplyConfigResponse>, Status> {
        self.caller(&request, "ApplyConfig")?;
        let asked = request.into_inner();
        if asked.expected_revision != self.revision() {
            return Err(Status::aborted("the config has changed meanwhile"));
        }
        if self.trial.lock().unwrap().is_some() {
            return Err(Status::aborted("another config is on trial"));
        }
        *self.revision.lock().unwrap() += 1;
        let trial = asked
            .try_s
            .map(|seconds| api::ConfigTrial { id: "t1".to_owned(), remaining_ms: u64::from(seconds) * 1000 });
        self.trial.lock().unwrap().clone_from(&trial);
        let differences = answers::differences(&self.name, &asked.text);
        ok(api::ApplyConfigResponse {
            differences,
            revision: self.revision(),
            trial,
            persistent: true,
            ..Default::default()
        })
    }

    async fn confirm_config(
        &self,
        request: Request<api::ConfirmConfigRequest>,
    ) -> Result<Response<api::ConfirmConfigResponse>, Status> {
        self.caller(&request, "ConfirmConfig")?;
        let id = request.into_inner().id;
        let taken = self.trial.lock().unwrap().take_if(|trial| trial.id == id);
        taken.ok_or_else(|| Status::not_found(format!("there is no trial {id:?}")))?;
        ok(api::ConfirmConfigResponse {})
    }

    async fn pods(&self, request: Request<api::PodsRequest>) -> Result<Response<api::PodsResponse>, Status> {
        self.caller(&request, "Pods")?;
        ok(answers::pods(&self.name, &request.into_inner().namespace))
    }

    async fn containers(
        &self,
        request: Request<api::ContainersRequest>,
    ) -> Result<Response<api::ContainersResponse>, Status> {
        self.caller(&request, "Containers")?;
        ok(answers::containers(request.into_inner().all))
    }

    async fn images(
        &self,
        request: Request<api::ImagesRequest>,
    ) -> Result<Response<api::ImagesResponse>, Status> {
        self.caller(&request, "Images")?;
        ok(answers::images())
    }

    async fn exec(
        &self,
        request: Request<Streaming<api::ExecRequest>>,
    ) -> Result<Response<Self::ExecStream>, Status> {
        self.caller(&request, "Exec")?;
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(Ask::Start(start)) = first else { return Err(Status::invalid_argument("no program")) };
        if start.container.is_none_or(|target| target.pod != "default/web") {
            return Err(Status::not_found("there is no such pod"));
        }
        let (send, answers) = mpsc::channel(8);
        tokio::spawn(async move {
            let say = async |message| drop(send.send(Ok(api::ExecResponse { message: Some(message) })).await);
            say(Answer::Stdout(format!("{}\n", start.command.join(" ")).into_bytes())).await;
            let mut typed = 0;
            let mut is_open = start.stdin;
            while is_open {
                match messages.message().await.ok().flatten().and_then(|next| next.message) {
                    Some(Ask::Stdin(bytes)) => {
                        typed += bytes.len();
                        say(Answer::Stdout(bytes)).await;
                    }
                    Some(Ask::StdinEnd(_)) | None => is_open = false,
                    Some(_) => {}
                }
            }
            say(Answer::Stderr(format!("{typed} bytes were typed\n").into_bytes())).await;
            say(Answer::ExitCode(42)).await;
        });
        Ok(Response::new(Many(answers)))
    }

    async fn reboot(
        &self,
        request: Request<api::RebootRequest>,
    ) -> Result<Response<api::RebootResponse>, Status> {
        self.caller(&request, "Reboot")?;
        ok(api::RebootResponse {})
    }

    async fn poweroff(
        &self,
        request: Request<api::PoweroffRequest>,
    ) -> Result<Response<api::PoweroffResponse>, Status> {
        self.caller(&request, "Poweroff")?;
        ok(api::PoweroffResponse {})
    }

    async fn reset(
        &self,
        request: Request<api::ResetRequest>,
    ) -> Result<Response<api::ResetResponse>, Status> {
        self.caller(&request, "Reset")?;
        ok(api::ResetResponse {})
    }

    async fn support_bundle(
        &self,
        request: Request<api::SupportBundleRequest>,
    ) -> Result<Response<Self::SupportBundleStream>, Status> {
        self.caller(&request, "SupportBundle")?;
        if self.name == "broken" {
            let (send, parts) = mpsc::channel(2);
            let _ = send.try_send(Ok(api::SupportBundleResponse { data: b"half".to_vec() }));
            let _ = send.try_send(Err(Status::data_loss("the disk is gone")));
            return Ok(Response::new(Many(parts)));
        }
        let part = |text: &str| api::SupportBundleResponse { data: text.as_bytes().to_vec() };
        many(vec![part("archive of "), part(&self.name)])
    }
}
