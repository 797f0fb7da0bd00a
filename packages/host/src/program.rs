//! The program `lepton-host`: serves the management API until it is told to end.

use std::io::Write as _;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::{Places, USAGE, run};

/// Threads that read files of the kernel, which may take a while: more readers wait for their turn.
const READERS: usize = 8;

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let Some(places) = Places::parse(std::env::args().skip(1)) else {
        say(USAGE);
        return ExitCode::from(2);
    };
    let tokio =
        tokio::runtime::Builder::new_current_thread().max_blocking_threads(READERS).enable_all().build();
    match tokio.map_err(Into::into).and_then(|tokio| tokio.block_on(serve(places))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let causes = std::iter::successors(error.source(), |error| (**error).source());
            say(&causes.fold(format!("lepton-host: {error}"), |text, cause| format!("{text}: {cause}")));
            ExitCode::FAILURE
        }
    }
}

async fn serve(places: Places) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(run(places, stop).await?)
}

fn say(text: &str) {
    // Nobody reads: no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
