//! `logs`: what a container of a pod wrote, from the log files that kubelet keeps, also while they are moved aside.

use std::path::Path;

use lepton_cri::v1 as cri;
use lepton_runtime_client::follow::{Follow, More};
use lepton_runtime_client::log::Printer;
use lepton_runtime_client::{failure, watch};
use lepton_runtime_shim::time;

use crate::choose;
use crate::failure::Failure;
use crate::from_runtime::{CONTAINER, UID};
use crate::list::{self, Host};
use crate::options::{LogChoice, Name};
use crate::pod::Pod;
use crate::read;

/// Shows the log of a container.
pub(crate) async fn show(
    host: &Host,
    namespace: Option<&str>,
    name: &Name,
    choice: &LogChoice,
) -> Result<(), Failure> {
    let list = list::all(host).await?;
    let pod = choose::pod(&list.pods, namespace, name)?;
    let container = choose::container(pod, name)?;
    let absent = |state| Failure::Absent { pod: pod.name.clone(), container: container.to_owned(), state };
    let known = attempts(host, pod, container).await?;
    let wanted = match choice.previous {
        false => known.first().ok_or_else(|| absent("was not made yet"))?,
        true => known.get(1).ok_or_else(|| absent("was not started again, or what it was before is gone"))?,
    };
    let status = host.client.status(&wanted.id, false).await?.status.unwrap_or_default();
    let path = Path::new(&status.log_path);
    if status.log_path.is_empty() || !read::has_folder(path) {
        return Err(absent("has no log"));
    }
    let failed = |error| Failure::io(format!("read {}", path.display()), error);
    let mut printer = Printer::new(choice.times);
    if let Some(since) = choice.since {
        printer = printer.since(&time::rfc3339(time::now().saturating_sub(since)));
    }
    let follows = choice.follow && status.state() == cri::ContainerState::ContainerRunning;
    let so_far = read::so_far(path, choice.tail).map_err(failed)?;
    let done = printer.print(&so_far.text).map_err(failure::Failure::output)?;
    if !follows {
        return Ok(());
    }
    let mut follow = Follow::new(path, printer)?;
    if let Some((file, offset)) = so_far.last {
        // Of an entry that was being written nothing was shown.
        let rest = (so_far.text.len() - done) as u64;
        follow.resume(file, offset.saturating_sub(rest)).map_err(failed)?;
    }
    let ended = watch::ended(&host.client, &status.id);
    tokio::pin!(ended);
    loop {
        while follow.pass_on()? == More::Yes {
            tokio::task::yield_now().await;
        }
        tokio::select! {
            end = &mut ended => {
                while follow.pass_on()? == More::Yes {}
                return match end {
                    // kubelet removes those that have ended.
                    Ok(_) | Err(failure::Failure::Removed(_)) => Ok(()),
                    Err(error) => Err(error.into()),
                };
            }
            changed = follow.changed() => changed?,
        }
    }
}

/// The containers that there were under a name, the last one first.
pub async fn attempts(host: &Host, pod: &Pod, container: &str) -> Result<Vec<cri::Container>, Failure> {
    let mut found = host.client.labelled(&[(UID, &pod.uid), (CONTAINER, container)]).await?;
    found.sort_by_key(|one| std::cmp::Reverse(one.created_at));
    Ok(found)
}
