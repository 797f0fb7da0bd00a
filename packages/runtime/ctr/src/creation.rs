//! From options to a running container, and what is left of it at the end. Each step that fails takes back those before.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::client::Client;
use crate::failure::Failure;
use crate::wanted::Wanted;

/// Folder of a container's log, and of what else is kept beside it.
pub(crate) fn folder(logs: &Path, name: &str) -> PathBuf {
    logs.join(name)
}

/// A new pod with its container, which runs.
pub(crate) async fn make(client: &Client, wanted: &Wanted) -> Result<Made, Failure> {
    let (made, ()) = make_and(client, wanted, async |container| Ok(client.start(container).await?)).await?;
    Ok(made)
}

/// A new pod with its container, which something starts.
pub(crate) async fn make_and<T>(
    client: &Client,
    wanted: &Wanted,
    start: impl AsyncFnOnce(&str) -> Result<T, Failure>,
) -> Result<(Made, T), Failure> {
    let pod = client.run_pod(wanted.pod.clone()).await;
    let pod = pod.map_err(|error| match error.is_taken() {
        true => Failure::Taken(wanted.name.clone()),
        false => error.into(),
    })?;
    let filled = async {
        let container = create(client, wanted, &pod).await?;
        let started = start(&container).await?;
        Ok((container, started))
    };
    match filled.await {
        Ok((container, started)) => Ok((Made { pod, container }, started)),
        Err(error) => {
            // What cannot be removed now is shown by ps -a, and the cause matters more.
            let _ = client.remove_pod(&pod).await;
            Err(error)
        }
    }
}

/// What was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) pod: String,
    pub(crate) container: String,
}

/// Makes and starts the container of a pod.
pub(crate) async fn fill(client: &Client, wanted: &Wanted, pod: &str) -> Result<String, Failure> {
    let container = create(client, wanted, pod).await?;
    client.start(&container).await?;
    Ok(container)
}

async fn create(client: &Client, wanted: &Wanted, pod: &str) -> Result<String, Failure> {
    Ok(client.create(pod, wanted.container.clone(), wanted.pod.clone()).await?)
}

/// Removes a pod with its container, and what is kept of its output.
pub(crate) async fn remove(client: &Client, pod: &str, folder: &Path) -> Result<(), Failure> {
    client.remove_pod(pod).await?;
    clear(folder)
}

/// Removes what is kept of a container's output.
pub(crate) fn clear(folder: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::io(format!("remove {}", folder.display()), error))
        }
        _ => Ok(()),
    }
}
