//! `run -i -t`: a new container whose program gets the caller's input and terminal.
//!
//! The caller is attached before the program starts, so that nothing is lost of what it writes.

use std::path::Path;

use lepton_cri::v1 as cri;

use crate::client::Client;
use crate::creation;
use crate::failure::Failure;
use crate::image;
use crate::run::{self, Stops};
use crate::run_options::RunOptions;
use crate::session::Session;
use crate::watch;

/// Runs a container to its end; gives its exit code.
pub(crate) async fn run(
    client: &Client,
    options: &RunOptions,
    logs: &Path,
    remove: bool,
) -> Result<u8, Failure> {
    image::provide(client, &options.image, options.pull).await?;
    // Only now: a pull that takes long ends with this program.
    let mut stops = Stops::new()?;
    let wanted = run::wanted(client, options, logs).await?;
    let choice = options.choice;
    let start = async |container: &str| {
        let request = cri::AttachRequest {
            container_id: container.to_owned(),
            stdin: choice.stdin,
            tty: choice.tty,
            stdout: true,
            // A terminal has one output.
            stderr: !choice.tty,
        };
        let session = Session::open(&client.attach(request).await?, choice).await?;
        client.start(container).await?;
        Ok(session)
    };
    let (made, session) = run::cleanly(&wanted, logs, creation::make_and(client, &wanted, start).await)?;
    let talk = session.talk();
    tokio::pin!(talk);
    let mut seconds = options.stop_seconds;
    let talked = loop {
        tokio::select! {
            talked = &mut talk => break talked,
            () = stops.next() => {
                let (client, container) = (client.clone(), made.container.clone());
                // Its end comes by itself, and meanwhile its last words are shown.
                tokio::spawn(async move { run::stop(&client, &container, seconds).await });
                seconds = 0;
            }
        }
    };
    if !talked.as_ref().is_ok_and(|status| is_success(status)) && !has_ended(client, &made.container).await {
        return Err(match talked {
            Err(error) if error.is_broken_pipe() => error.into(),
            _ => Failure::Left(wanted.name),
        });
    }
    let end = watch::ended(client, &made.container).await?;
    run::over(client, &made, &creation::folder(logs, &wanted.name), remove).await?;
    Ok(run::told(&wanted, &end))
}

/// Whether the server says that the container has ended, and not that the conversation failed.
fn is_success(status: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(status).is_ok_and(|status| status["status"] == "Success")
}

async fn has_ended(client: &Client, container: &str) -> bool {
    let status = client.status(container, false).await.ok().and_then(|answer| answer.status);
    status.is_some_and(|status| status.state() == cri::ContainerState::ContainerExited)
}
