//! Services of PID 1.

use std::collections::BTreeMap;
use std::time::Duration;

use lepton_control::{Answer as Pid1Answer, Request as Ask, ServiceState, ServiceStatus};
use lepton_host_api::v1 as api;
use serde_json::json;
use tonic::{Request, Status};

use super::{Answer, Methods};
use crate::clock;
use crate::feed::{Feed, send};
use crate::pid1::unexpected;
use crate::record::Record;

/// Between two looks at services whose changes somebody waits for.
const LOOK: Duration = Duration::from_millis(500);

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
        let methods = self.clone();
        Ok(Feed::response(|answers| async move {
            let mut known = Known::default();
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let now = methods.list_services(&request.service).await?.services;
                let is_first = known.0.is_empty();
                let changes = known.update(now);
                let answer = api::EventsResponse { time_unix_ms: clock::millis(), changes };
                if (is_first || !answer.changes.is_empty()) && !send(&answers, answer).await {
                    return Ok(());
                }
            }
        }))
    }
}

/// The state of each service at the last look, and how often it was started.
#[derive(Debug, Default)]
struct Known(BTreeMap<String, (i32, u32)>);

impl Known {
    /// Services that have changed.
    fn update(&mut self, now: Vec<api::Service>) -> Vec<api::ServiceChange> {
        let mut changes = Vec::new();
        for service in now {
            let seen = (service.state, service.starts);
            let before = self.0.insert(service.name.clone(), seen);
            if before != Some(seen) {
                let before = before.map_or(0, |(state, _)| state);
                changes.push(api::ServiceChange { before, service: Some(service) });
            }
        }
        changes
    }
}

/// A service as the API shows it.
pub(super) fn service(status: ServiceStatus) -> api::Service {
    api::Service {
        name: status.name,
        state: match status.state {
            ServiceState::Waiting => api::ServiceState::Waiting,
            ServiceState::Starting => api::ServiceState::Starting,
            ServiceState::Ready => api::ServiceState::Ready,
            ServiceState::Stopping => api::ServiceState::Stopping,
            ServiceState::BackOff => api::ServiceState::BackOff,
            ServiceState::Done => api::ServiceState::Done,
            ServiceState::Stopped => api::ServiceState::Stopped,
            ServiceState::Failed => api::ServiceState::Failed,
        }
        .into(),
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
    use super::*;

    #[test]
    fn changes() {
        let at = |state: api::ServiceState, starts| api::Service {
            name: "a".to_owned(),
            state: state.into(),
            starts,
            ..Default::default()
        };
        let mut known = Known::default();
        let first = known.update(vec![at(api::ServiceState::Starting, 1)]);
        assert_eq!((first.len(), first[0].before), (1, 0));
        assert_eq!(known.update(vec![at(api::ServiceState::Starting, 1)]), []);
        let ready = known.update(vec![at(api::ServiceState::Ready, 1)]);
        assert_eq!(ready[0].before, i32::from(api::ServiceState::Starting));
        // It ended and was started again between two looks.
        assert_eq!(known.update(vec![at(api::ServiceState::Ready, 2)]).len(), 1);
    }
}
