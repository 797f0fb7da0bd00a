//! `run --service`: one container of the machine config, for PID 1.
//!
//! Whatever dies and comes back, this program or the runtime, there is one container: it is found by its name, which the
//! runtime gives once. A container that is not what is wanted now is replaced. At its end its pod is removed, and its
//! exit code is this program's.

use std::path::Path;
use std::time::Duration;

use lepton_cri::v1 as cri;
use lepton_runtime_client::failure::Failure as Refusal;

use crate::client::Client;
use crate::creation::{self, Made};
use crate::failure::Failure;
use crate::follow::Follow;
use crate::log::Printer;
use crate::run::{Stops, to_the_end};
use crate::run_options::RunOptions;
use crate::wanted::{DIGEST, KIND, LOG, NAME, SERVICE, Wanted};
use crate::{image, table};

/// First wait before something is tried again; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest one: a registry that comes back is asked soon.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// How far the log was passed on.
const POSITION: &str = "position";

/// Runs the container to its end.
pub(crate) async fn run(client: &Client, options: &RunOptions, logs: &Path) -> Result<u8, Failure> {
    let name = options.name.clone().unwrap_or_default();
    let folder = creation::folder(logs, &name);
    let wanted = Wanted::new(&name, options, &folder);
    let mut stops = Stops::new()?;
    let made = tokio::select! {
        made = persistently(|| ensure(client, options, &wanted, &folder)) => made?,
        () = stops.next() => {
            take_away(client, &name, &folder).await?;
            return Ok(0);
        }
    };
    let mut follow = Follow::new(&folder.join(LOG), Printer::default())?;
    follow.keep_position(&folder.join(POSITION))?;
    lepton_notify::ready_with(&format!("container {}", table::short(&made.container)));
    let end = to_the_end(client, &made.container, &mut follow, &mut stops, options.stop_seconds).await?;
    persistently(|| creation::remove(client, &made.pod, &folder)).await?;
    if end.code != 0 {
        eprintln!("lepton-ctr: the container ended with code {} ({})", end.code, end.reason);
    }
    Ok(end.code)
}

/// Tries until it works or cannot work: the runtime may restart, a registry may be out of reach.
async fn persistently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let (mut wait, mut said) = (FIRST_WAIT, String::new());
    loop {
        let error = match attempt().await {
            Err(error) if error.may_pass() => error.chain(),
            result => return result,
        };
        if error != said {
            eprintln!("lepton-ctr: {error}; trying again");
            lepton_notify::status(&error);
            said = error;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// The container that is wanted, found or made. It may have ended while nobody looked.
async fn ensure(
    client: &Client,
    options: &RunOptions,
    wanted: &Wanted,
    folder: &Path,
) -> Result<Made, Failure> {
    for pod in client.pods(&[(NAME, &wanted.name)]).await? {
        if pod.labels.get(KIND).is_none_or(|kind| kind != SERVICE) {
            return Err(Failure::Taken(wanted.name.clone()));
        }
        let is_same = pod.annotations.get(DIGEST) == wanted.pod.annotations.get(DIGEST);
        // One that is not ready is of an earlier boot, or half removed.
        if is_same && pod.state() == cri::PodSandboxState::SandboxReady {
            let container = complete(client, wanted, &pod.id).await?;
            return Ok(Made { pod: pod.id, container });
        }
        if let Some(container) = client.containers(Some(&pod.id)).await?.first() {
            client.stop(&container.id, options.stop_seconds).await?;
        }
        creation::remove(client, &pod.id, folder).await?;
    }
    lepton_notify::status(&format!("providing the image {}", options.image));
    image::provide(client, &options.image, options.pull).await?;
    lepton_notify::status("starting");
    creation::clear(folder)?;
    let made = creation::make(client, wanted).await;
    match made {
        // Made by an earlier call of this program that was cut off: the next attempt finds it.
        Err(Failure::Taken(name)) => Err(Failure::Runtime(Refusal::Refused {
            code: tonic::Code::Aborted,
            message: format!("a pod {name} is being made already"),
        })),
        made => made,
    }
}

/// The container of a pod that is there: found, or made and started as far as that was not done.
async fn complete(client: &Client, wanted: &Wanted, pod: &str) -> Result<String, Failure> {
    match client.containers(Some(pod)).await?.into_iter().next() {
        None => creation::fill(client, wanted, pod).await,
        Some(container) => {
            if container.state() == cri::ContainerState::ContainerCreated {
                client.start(&container.id).await?;
            }
            Ok(container.id)
        }
    }
}

/// Removes what there is of a container.
async fn take_away(client: &Client, name: &str, folder: &Path) -> Result<(), Failure> {
    for pod in client.pods(&[(NAME, name), (KIND, SERVICE)]).await? {
        creation::remove(client, &pod.id, folder).await?;
    }
    Ok(())
}
