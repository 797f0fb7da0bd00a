//! Starts kubelet and looks after it until one of them is told to end.
//!
//! kubelet that ends by itself ends this program, too: PID 1 starts both again, with its back-off. Containers go on
//! meanwhile, because they are the runtime's.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use lepton_kubelet_shutdown::Bus;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::drain::{self, Drain};
use crate::failure::{Failure, system_failure};
use crate::health;
use crate::places::Places;
use crate::watch::Watch;

/// Between two looks at kubelet: quick until it is well for the first time.
const FIRST_LOOKS: Duration = Duration::from_millis(200);
const LOOKS: Duration = Duration::from_secs(10);
/// Between two looks at people's folder, should the kernel's word of a change be lost.
const RESCAN: Duration = Duration::from_secs(60);
/// The ready line does not wait longer for a node that has yet to get its certificate.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is supervised.
pub(crate) struct Work<'a> {
    pub(crate) places: &'a Places,
    pub(crate) arguments: Vec<OsString>,
    /// How long pods may delay the host's end.
    pub(crate) shutdown: Duration,
    /// A host that is alone has nobody to wait for.
    pub(crate) is_alone: bool,
    /// Puts manifests where kubelet looks; gives a sentence about them.
    pub(crate) sync: &'a mut dyn FnMut() -> Result<String, Failure>,
}

/// Runs kubelet; its exit code.
pub(crate) async fn run(work: Work<'_>) -> Result<u8, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(system_failure("watch SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(system_failure("watch SIGINT"))?;
    let mut watch =
        Watch::new(&work.places.people).map_err(system_failure("watch the folder of manifests"))?;
    let mut says = (work.sync)()?;
    // Before kubelet, which looks for it only once.
    let drain = Drain::listen(Bus::SOCKET.as_ref(), work.shutdown)?;
    let mut child = start(&work, &drain.address())?;
    let (started, mut is_ready, mut is_well) = (Instant::now(), false, false);
    let mut looks = interval(FIRST_LOOKS);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut scans = interval(RESCAN);
    loop {
        tokio::select! {
            ended = child.wait() => {
                let ended = ended.map_err(system_failure("wait for kubelet"))?;
                return Ok(code_of(ended));
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = watch.changed() => says = renewed(work.sync, &says),
            _ = scans.tick() => says = renewed(work.sync, &says),
            _ = looks.tick() => {
                let was_well = std::mem::replace(&mut is_well, health::is_well().await);
                if is_well && !was_well {
                    looks = interval(LOOKS);
                    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                    lepton_notify::status(&says);
                }
                if !is_ready && (is_well || !work.is_alone && started.elapsed() > PATIENCE) {
                    is_ready = true;
                    lepton_notify::ready();
                }
                // A node that has yet to join is not dead; its log says what it waits for.
                if is_well || is_ready && !work.is_alone {
                    lepton_notify::alive();
                }
            }
        }
    }
    lepton_notify::stopping();
    // Else only this service stops, and pods go on.
    if work.places.stopping.exists() {
        drain.wait(&mut terminate).await;
    }
    drain::end(&mut child, drain::TERMINATION).await?;
    Ok(0)
}

fn renewed(sync: &mut dyn FnMut() -> Result<String, Failure>, before: &str) -> String {
    let says = sync().unwrap_or_else(|error| error.to_string());
    if says != before {
        lepton_notify::status(&says);
    }
    says
}

fn start(work: &Work<'_>, bus: &str) -> Result<Child, Failure> {
    // Nothing of this program's environment: kubelet would tell PID 1 itself that it is ready, which is not for it to say.
    let mut command = Command::new(&work.places.kubelet);
    command.args(&work.arguments).env_clear().env("PATH", &work.places.path);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus);
    command.spawn().map_err(system_failure("start kubelet"))
}

fn code_of(ended: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    eprintln!("kubelet-agent: kubelet ended: {ended}");
    let code = ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)).unwrap_or(1);
    // It is to run for good: whatever it says, its end is a failure.
    u8::try_from(code).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn codes() {
        assert_eq!(code_of(ExitStatus::from_raw(0)), 1);
        assert_eq!(code_of(ExitStatus::from_raw(3 << 8)), 3);
        assert_eq!(code_of(ExitStatus::from_raw(9)), 137);
    }
}
