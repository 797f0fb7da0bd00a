//! `run`: a new container, for somebody who waits for it or not.

use std::io::{self, Write as _};
use std::path::Path;

use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::client::Client;
use crate::creation::{self, Made};
use crate::failure::{Failure, chain};
use crate::follow::{Follow, More};
use crate::image;
use crate::log::Printer;
use crate::run_options::RunOptions;
use crate::wanted::{LOG, NAME, Wanted};
use crate::watch::{self, End};

/// Starts a container and prints its id.
pub(crate) async fn detached(
    client: &Client,
    options: &RunOptions,
    logs: &Path,
    json: bool,
) -> Result<u8, Failure> {
    image::provide(client, &options.image, options.pull).await?;
    let wanted = wanted(client, options, logs).await?;
    let made = cleanly(&wanted, logs, creation::make(client, &wanted).await)?;
    let mut output = io::stdout().lock();
    let written = match json {
        true => writeln!(output, "{}", json!({"id": made.container, "name": wanted.name, "pod": made.pod})),
        false => writeln!(output, "{}", made.container),
    };
    written.map_err(Failure::output)?;
    Ok(0)
}

/// Runs a container to its end and shows what it writes; gives its exit code.
pub(crate) async fn attached(
    client: &Client,
    options: &RunOptions,
    logs: &Path,
    remove: bool,
) -> Result<u8, Failure> {
    image::provide(client, &options.image, options.pull).await?;
    // Only now: a pull that takes long ends with this program.
    let mut stops = Stops::new()?;
    let wanted = wanted(client, options, logs).await?;
    let made = cleanly(&wanted, logs, creation::make(client, &wanted).await)?;
    let folder = creation::folder(logs, &wanted.name);
    let mut follow = Follow::new(&folder.join(LOG), Printer::default())?;
    let end = to_the_end(client, &made.container, &mut follow, &mut stops, options.stop_seconds).await?;
    over(client, &made, &folder, remove).await?;
    Ok(told(&wanted, &end))
}

/// Gives back what a container that has ended took.
pub(crate) async fn over(client: &Client, made: &Made, folder: &Path, remove: bool) -> Result<(), Failure> {
    match remove {
        true => creation::remove(client, &made.pod, folder).await,
        // Its network and its processes are given back; its log stays.
        false => Ok(client.stop_pod(&made.pod).await?),
    }
}

/// Says what its exit code does not; gives the code.
pub(crate) fn told(wanted: &Wanted, end: &End) -> u8 {
    if end.reason == "OOMKilled" {
        eprintln!("lepton-ctr: {} was killed because it needed more memory than it may have", wanted.name);
    }
    end.code
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub(crate) struct Stops {
    terminate: Signal,
    interrupt: Signal,
}

impl Stops {
    /// From now on they do not end this program by themselves.
    pub(crate) fn new() -> Result<Self, Failure> {
        let handle = |kind| signal(kind).map_err(|error| Failure::io("handle signals", error));
        Ok(Self { terminate: handle(SignalKind::terminate())?, interrupt: handle(SignalKind::interrupt())? })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Passes on what a container writes until it ends. A signal stops it, a second one at once.
pub(crate) async fn to_the_end(
    client: &Client,
    container: &str,
    follow: &mut Follow,
    stops: &mut Stops,
    stop_seconds: u32,
) -> Result<End, Failure> {
    let ended = watch::ended(client, container);
    tokio::pin!(ended);
    let mut seconds = stop_seconds;
    loop {
        while follow.pass_on()? == More::Yes {
            tokio::task::yield_now().await;
        }
        let wants_stop = tokio::select! {
            end = &mut ended => {
                // The log is complete before the end is told.
                while follow.pass_on()? == More::Yes {}
                return Ok(end?);
            }
            changed = follow.changed() => { changed?; false }
            () = stops.next() => true,
        };
        if wants_stop {
            let (client, container) = (client.clone(), container.to_owned());
            // Its end comes by itself, and meanwhile its last words are passed on.
            tokio::spawn(async move { stop(&client, &container, seconds).await });
            seconds = 0;
        }
    }
}

/// Stops a container, as soon as the runtime can.
pub(crate) async fn stop(client: &Client, container: &str, seconds: u32) {
    while let Err(error) = client.stop(container, seconds).await {
        if !error.may_pass() {
            eprintln!("lepton-ctr: cannot stop {container}: {}", chain(&error));
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
}

/// What the options ask for, under a name that is free.
pub(crate) async fn wanted(client: &Client, options: &RunOptions, logs: &Path) -> Result<Wanted, Failure> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => invent(&options.image)?,
    };
    if !client.pods(&[(NAME, &name)]).await?.is_empty() {
        return Err(Failure::Taken(name));
    }
    let folder = creation::folder(logs, &name);
    // What another container of that name has left.
    creation::clear(&folder)?;
    Ok(Wanted::new(&name, options, &folder))
}

/// A container that could not be made leaves nothing.
pub(crate) fn cleanly<T>(wanted: &Wanted, logs: &Path, made: Result<T, Failure>) -> Result<T, Failure> {
    if made.is_err() {
        let _ = creation::clear(&creation::folder(logs, &wanted.name));
    }
    made
}

/// A name for a container: its image's, and something that others do not have.
fn invent(image: &str) -> Result<String, Failure> {
    let path = image.split('@').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let word = last.split(':').next().unwrap_or_default();
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let mut name: String = word.chars().map(plain).take(20).collect();
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        name.insert(0, 'c');
    }
    let mut bytes = [0; 3];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| Failure::io("get random bytes", error.into()))?;
    let [a, b, c] = bytes;
    Ok(format!("{name}-{a:02x}{b:02x}{c:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invented_names_are_names() {
        for (image, begin) in [
            ("registry.example:5000/team/Web_App:1.2", "web-app-"),
            ("a/b@sha256:00", "b-"),
            ("7zip", "c7zip-"),
            ("a/an-image-with-a-name-that-is-long:1", "an-image-with-a-name-"),
        ] {
            let name = invent(image).unwrap();
            assert!(name.starts_with(begin) && lepton_service_spec::is_service_name(&name), "{name}");
        }
    }
}
