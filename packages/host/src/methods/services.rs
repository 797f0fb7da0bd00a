//! Services of PID 1.

use lepton_control::{Answer as Pid1Answer, Request as Ask, ServiceState, ServiceStatus};
use lepton_host_api::v1 as api;
use serde_json::json;
use tonic::{Request, Status};

use super::{Answer, Methods};
use crate::clock;
use crate::feed::{Feed, send};
use crate::pid1::unexpected;
use crate::record::Record;
use crate::watch::Told;

impl Methods {
    pub(super) async fn list_services(&self, name: &str) -> Result<api::ServicesResponse, Status> {
        let services = match name {
            "" => self.service_statuses().await?,
            name => vec![self.service_status(name).await?],
        };
        Ok(api::ServicesResponse { services: services.into_iter().map(service).collect() })
    }

    async fn service_statuses(&self) -> Result<Vec<ServiceStatus>, Status> {
        match self.pid1.ask(&Ask::Services).await? {
            Pid1Answer::Services(services) => Ok(services),
            _ => Err(unexpected()),
        }
    }

    async fn service_status(&self, name: &str) -> Result<ServiceStatus, Status> {
        match self.pid1.ask(&Ask::Service { name: name.to_owned() }).await? {
            Pid1Answer::Service(status) => Ok(*status),
            _ => Err(unexpected()),
        }
    }

    /// Asks PID 1 to do something with a service; gives the service after that.
    async fn order(&self, name: &str, order: Ask) -> Result<Option<api::Service>, Status> {
        if name.is_empty() {
            return Err(Status::invalid_argument("name a service"));
        }
        match self.pid1.ask(&order).await? {
            Pid1Answer::Done => Ok(Some(service(self.service_status(name).await?))),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn start(
        &self,
        request: Request<api::StartServiceRequest>,
    ) -> Answer<api::StartServiceResponse> {
        let name = request.get_ref().name.clone();
        let record = Record::new(&request, "StartService", json!({ "name": name }))?;
        record
            .of(async {
                let service = self.order(&name, Ask::Start { name: name.clone() }).await?;
                Ok(api::StartServiceResponse { service })
            })
            .await
    }

    pub(super) async fn stop(
        &self,
        request: Request<api::StopServiceRequest>,
    ) -> Answer<api::StopServiceResponse> {
        let name = request.get_ref().name.clone();
        let record = Record::new(&request, "StopService", json!({ "name": name }))?;
        record
            .of(async {
                let service = self.order(&name, Ask::Stop { name: name.clone() }).await?;
                Ok(api::StopServiceResponse { service })
            })
            .await
    }

    pub(super) async fn restart(
        &self,
        request: Request<api::RestartServiceRequest>,
    ) -> Answer<api::RestartServiceResponse> {
        let name = request.get_ref().name.clone();
        let record = Record::new(&request, "RestartService", json!({ "name": name }))?;
        record
            .of(async {
                let service = self.order(&name, Ask::Restart { name: name.clone() }).await?;
                Ok(api::RestartServiceResponse { service })
            })
            .await
    }

    pub(super) async fn watch_services(
        &self,
        request: api::EventsRequest,
    ) -> Answer<Feed<api::EventsResponse>> {
        // An unknown name is told at once.
        self.list_services(&request.service).await?;
        let mut follower = self.watch.follow().await?;
        Ok(Feed::response(|answers| async move {
            loop {
                let answer = shown(follower.next().await?, &request.service);
                if let Some(answer) = answer
                    && !send(&answers, answer).await
                {
                    return Ok(());
                }
            }
        }))
    }
}

/// What the caller is told who follows the service of that name, or all when it is empty.
fn shown(told: Told, name: &str) -> Option<api::EventsResponse> {
    let is_meant = |status: &ServiceStatus| name.is_empty() || status.name == name;
    match told {
        Told::All(lost, services) => {
            let change = |status| api::ServiceChange { before: 0, service: Some(service(status)) };
            let changes = services.into_iter().filter(is_meant).map(change).collect();
            Some(api::EventsResponse { time_unix_ms: clock::millis(), changes, lost })
        }
        Told::Change(change) if is_meant(&change.service) => {
            let before = change.before.map_or(api::ServiceState::Unspecified, state).into();
            let since_start = i64::try_from(change.ms).unwrap_or(i64::MAX);
            Some(api::EventsResponse {
                time_unix_ms: clock::boot_ms().saturating_add(since_start),
                changes: vec![api::ServiceChange { before, service: Some(service(change.service.clone())) }],
                lost: 0,
            })
        }
        Told::Change(_) => None,
    }
}

fn state(state: ServiceState) -> api::ServiceState {
    match state {
        ServiceState::Waiting => api::ServiceState::Waiting,
        ServiceState::Starting => api::ServiceState::Starting,
        ServiceState::Ready => api::ServiceState::Ready,
        ServiceState::Stopping => api::ServiceState::Stopping,
        ServiceState::BackOff => api::ServiceState::BackOff,
        ServiceState::Done => api::ServiceState::Done,
        ServiceState::Stopped => api::ServiceState::Stopped,
        ServiceState::Failed => api::ServiceState::Failed,
    }
}

/// A service as the API shows it.
pub(super) fn service(status: ServiceStatus) -> api::Service {
    api::Service {
        name: status.name,
        state: state(status.state).into(),
        text: status.text,
        pid: status.pid,
        starts: status.starts,
        last_end: status.last_end,
        for_ms: status.for_ms,
        memory_bytes: status.memory_kb.map(|kb| kb * 1024),
        tasks: status.tasks,
        dropped_lines: status.dropped_lines,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use lepton_control::Change;

    use super::*;

    fn status(name: &str, state: ServiceState) -> ServiceStatus {
        ServiceStatus {
            name: name.to_owned(),
            state,
            text: None,
            pid: None,
            starts: 1,
            last_end: None,
            for_ms: 0,
            memory_kb: None,
            tasks: None,
            dropped_lines: 0,
        }
    }

    #[test]
    fn what_a_caller_is_told() {
        let services = vec![status("db", ServiceState::Ready), status("web", ServiceState::Ready)];
        let names = |answer: &api::EventsResponse| {
            let names = answer.changes.iter().map(|change| change.service.clone().unwrap_or_default().name);
            names.collect::<Vec<_>>()
        };
        let all = shown(Told::All(3, services.clone()), "").unwrap();
        assert_eq!((names(&all), all.lost), (vec!["db".to_owned(), "web".to_owned()], 3));
        let web = shown(Told::All(0, services), "web").unwrap();
        assert_eq!((names(&web), web.changes[0].before), (vec!["web".to_owned()], 0));

        let before = Some(ServiceState::Ready);
        let change = Change { ms: 5000, before, service: status("web", ServiceState::Stopping) };
        let told = Told::Change(Arc::new(change));
        let one = shown(told.clone(), "web").unwrap();
        assert!((one.time_unix_ms - clock::boot_ms() - 5000).abs() < 1000);
        assert_eq!(one.changes[0].before(), api::ServiceState::Ready);
        assert_eq!(
            one.changes[0].service.as_ref().map(api::Service::state),
            Some(api::ServiceState::Stopping)
        );
        assert_eq!(shown(told, "db"), None);
    }
}
