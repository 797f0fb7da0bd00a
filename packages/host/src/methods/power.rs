//! Stopping the host, and emptying its state.

use lepton_control::{Answer as Pid1Answer, Request as Ask};
use lepton_host_api::v1 as api;
use serde_json::json;
use tonic::{Request, Status};

use super::{Answer, Methods};
use crate::pid1::unexpected;
use crate::record::Record;

impl Methods {
    async fn done(&self, ask: &Ask) -> Result<(), Status> {
        match self.pid1.ask(ask).await? {
            Pid1Answer::Done => Ok(()),
            _ => Err(unexpected()),
        }
    }

    pub(super) async fn start_again(
        &self,
        request: Request<api::RebootRequest>,
    ) -> Answer<api::RebootResponse> {
        let record = Record::new(&request, "Reboot", json!({}))?;
        record.of(async { self.done(&Ask::Reboot).await.map(|()| api::RebootResponse {}) }).await
    }

    pub(super) async fn switch_off(
        &self,
        request: Request<api::PoweroffRequest>,
    ) -> Answer<api::PoweroffResponse> {
        let record = Record::new(&request, "Poweroff", json!({}))?;
        record.of(async { self.done(&Ask::Poweroff).await.map(|()| api::PoweroffResponse {}) }).await
    }

    pub(super) async fn empty_state(
        &self,
        request: Request<api::ResetRequest>,
    ) -> Answer<api::ResetResponse> {
        let later = request.get_ref().later;
        let record = Record::new(&request, "Reset", json!({ "later": later }))?;
        record
            .of(async {
                self.done(&Ask::ResetState).await?;
                if !later {
                    self.done(&Ask::Reboot).await?;
                }
                Ok(api::ResetResponse {})
            })
            .await
    }
}
