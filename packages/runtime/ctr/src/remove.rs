//! `stop` and `rm`. Containers of kubelet are left alone, and those of the machine config are PID 1's.

use std::path::Path;

use crate::client::Client;
use crate::creation;
use crate::failure::Failure;
use crate::find;
use crate::wanted::STOP;

/// Stops containers; their logs stay.
pub(crate) async fn stop(client: &Client, words: &[String], seconds: Option<u32>) -> Result<(), Failure> {
    for word in words {
        let entry = find::one(client, word).await?.for_change(word)?;
        if entry.is_service() && entry.runs() {
            return Err(Failure::IsService(entry.name().to_owned()));
        }
        let own = entry.pod.annotations.get(STOP).and_then(|text| text.parse().ok());
        if let Some(container) = &entry.container {
            client.stop(&container.id, seconds.or(own).unwrap_or_default()).await?;
        }
        // Its addresses and its shim are given back, too.
        client.stop_pod(&entry.pod.id).await?;
    }
    Ok(())
}

/// Removes containers with their logs.
pub(crate) async fn remove(
    client: &Client,
    words: &[String],
    force: bool,
    logs: &Path,
) -> Result<(), Failure> {
    for word in words {
        let entry = find::one(client, word).await?.for_change(word)?;
        if entry.runs() {
            match (entry.is_service(), force) {
                (true, _) => return Err(Failure::IsService(entry.name().to_owned())),
                (false, false) => return Err(Failure::Runs(entry.name().to_owned())),
                (false, true) => {}
            }
        }
        creation::remove(client, &entry.pod.id, &creation::folder(logs, entry.name())).await?;
    }
    Ok(())
}
