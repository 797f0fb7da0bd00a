//! `logs`: what a container wrote, from the log files that the runtime keeps.

use std::fs;
use std::io;
use std::path::Path;

use lepton_cri::v1 as cri;

use crate::client::Client;
use crate::failure::Failure;
use crate::find;
use crate::follow::{Follow, More};
use crate::log::{self, Printer};
use crate::rotation;
use crate::watch;

/// What is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    /// Whether it waits for more, until the container ends.
    pub(crate) follow: bool,
    /// The last lines alone.
    pub(crate) lines: Option<usize>,
    /// Whether each line begins with its time.
    pub(crate) times: bool,
}

/// Shows a container's log.
pub(crate) async fn show(client: &Client, word: &str, choice: Choice) -> Result<(), Failure> {
    let entry = find::one(client, word).await?;
    let status = client.status(&entry.container()?.id, false).await?.status.unwrap_or_default();
    if status.log_path.is_empty() {
        let none = io::Error::new(io::ErrorKind::NotFound, "it was made without one");
        return Err(Failure::io(format!("show the log of {word}"), none));
    }
    let path = Path::new(&status.log_path);
    // What was moved aside comes first.
    let aside = rotation::aside(path)
        .map_err(|error| Failure::io(format!("list the files of {}", path.display()), error))?;
    let mut text = Vec::new();
    for aside in aside.iter().filter(|aside| !rotation::is_compressed(aside)) {
        text.extend(read(aside)?);
    }
    let before = text.len();
    text.extend(read(path)?);
    let start = choice.lines.map_or(0, |lines| log::tail(&text, lines));
    let mut printer = Printer::new(choice.times);
    let done = printer.print(&text[start..]).map_err(Failure::output)?;
    if !choice.follow || status.state() != cri::ContainerState::ContainerRunning {
        return Ok(());
    }
    let mut follow = Follow::new(path, printer)?;
    follow.skip((start + done).saturating_sub(before) as u64)?;
    let ended = watch::ended(client, &status.id);
    tokio::pin!(ended);
    loop {
        while follow.pass_on()? == More::Yes {
            tokio::task::yield_now().await;
        }
        tokio::select! {
            end = &mut ended => {
                while follow.pass_on()? == More::Yes {}
                return Ok(end.map(drop)?);
            }
            changed = follow.changed() => changed?,
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| Failure::io(format!("read {}", path.display()), error)),
    }
}
