//! Questions to PID 1 about services, for the judges.

use std::thread::sleep;
use std::time::{Duration, Instant};

use lepton_control::{Answer, Client, Request, ServiceStatus};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Between two questions: a service that starts needs the processor, too.
const POLL: Duration = Duration::from_millis(20);
/// Nothing here takes longer, on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until a service is as wanted.
pub(crate) fn until(name: &str, wanted: impl Fn(&ServiceStatus) -> bool) -> Result<ServiceStatus, String> {
    let start = Instant::now();
    let mut client = connect()?;
    loop {
        let status = status_by(&mut client, name)?;
        if wanted(&status) {
            return Ok(status);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("timed out: {status:?}"));
        }
        sleep(POLL);
    }
}

pub(crate) fn status_of(name: &str) -> Result<ServiceStatus, String> {
    status_by(&mut connect()?, name)
}

pub(crate) fn ask(request: &Request) -> Result<Answer, String> {
    connect()?.ask(request).map_err(|error| error.to_string())
}

pub(crate) fn connect() -> Result<Client, String> {
    Client::connect().map_err(|error| error.to_string())
}

/// Kills the main process of a service as `kill -9` does.
pub(crate) fn kill_9(status: &ServiceStatus) -> Result<(), String> {
    let pid = status.pid.ok_or_else(|| format!("no process: {status:?}"))?;
    kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).map_err(|error| format!("kill {pid}: {error}"))
}

pub(crate) fn holds(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}

fn status_by(client: &mut Client, name: &str) -> Result<ServiceStatus, String> {
    match client.ask(&Request::Service { name: name.to_owned() }).map_err(|error| error.to_string())? {
        Answer::Service(status) => Ok(*status),
        other => Err(format!("unexpected answer {other:?}")),
    }
}
