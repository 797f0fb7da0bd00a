//! Waits for a container's end, also across restarts of the runtime. It must not change anything.

use std::time::Duration;

use lepton_cri::v1 as cri;
use tokio::time::{sleep, timeout};

use crate::client::Client;
use crate::failure::Failure;

/// How often a container is looked at without an event: one may be lost while the runtime restarts.
const LOOK: Duration = Duration::from_secs(20);
/// Between attempts to reach a runtime that restarts.
const AGAIN: Duration = Duration::from_millis(500);

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The program's code; 128 and the number of the signal that ended it.
    pub code: u8,
    /// `Completed`, `Error`, `OOMKilled` or `Unknown`.
    pub reason: String,
}

impl End {
    fn of(status: &cri::ContainerStatus) -> Self {
        Self { code: u8::try_from(status.exit_code).unwrap_or(u8::MAX), reason: status.reason.clone() }
    }
}

/// Waits until a container has ended.
pub async fn ended(client: &Client, id: &str) -> Result<End, Failure> {
    loop {
        match try_ended(client, id).await {
            Err(error) if error.may_pass() => sleep(AGAIN).await,
            Err(error) if error.is_not_found() => return Err(Failure::Removed(id.to_owned())),
            result => return result,
        }
    }
}

async fn try_ended(client: &Client, id: &str) -> Result<End, Failure> {
    // Before the look, so that an end between the two is not missed.
    let mut events = client.events().await?;
    loop {
        let status = client.status(id, false).await?.status.unwrap_or_default();
        if status.state() == cri::ContainerState::ContainerExited {
            return Ok(End::of(&status));
        }
        let mine = async {
            loop {
                match events.message().await {
                    Ok(Some(event)) if event.container_id == id => return Ok(true),
                    Ok(Some(_)) => {}
                    // The runtime ends, or this program was too slow.
                    Ok(None) => return Ok(false),
                    Err(status) => return Err(client.broken(&status)),
                }
            }
        };
        match timeout(LOOK, mine).await {
            Ok(Ok(true)) | Err(_) => {}
            Ok(Ok(false) | Err(_)) => {
                sleep(AGAIN).await;
                events = client.events().await?;
            }
        }
    }
}
