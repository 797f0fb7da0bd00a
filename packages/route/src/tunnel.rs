//! An upgraded connection, a WebSocket say: bytes pass both ways until one side ends it.

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional_with_sizes;

use crate::record::Record;

/// Bytes under way in each direction.
const BUFFER: usize = 8 << 10;

/// Joins a client and an instance once both have changed the protocol.
pub(crate) async fn run(client: OnUpgrade, instance: OnUpgrade, mut record: Record) {
    let (mut client, mut instance) = match tokio::try_join!(client, instance) {
        Ok((client, instance)) => (TokioIo::new(client), TokioIo::new(instance)),
        Err(error) => {
            record.failure = Some(error.to_string());
            return;
        }
    };
    let peer = std::sync::Arc::clone(&record.peer);
    tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut instance, BUFFER, BUFFER) => {
            if let Ok((_, to_client)) = copied {
                record.bytes = to_client;
                record.is_complete = true;
            }
        }
        () = peer.meter.expiry() => {}
    }
}
