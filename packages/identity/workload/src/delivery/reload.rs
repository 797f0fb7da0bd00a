//! Tells a service that its files have changed: a signal to its main process, which PID 1 names.

use std::path::PathBuf;
use std::str::FromStr;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::control::{Control, ControlError};
use crate::host::Host;
use crate::origin::{SERVICES, is_below};

/// A signal that means: read your files again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadSignal {
    /// SIGHUP.
    #[default]
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

impl FromStr for ReloadSignal {
    type Err = ReloadError;

    fn from_str(text: &str) -> Result<Self, ReloadError> {
        match text {
            "SIGHUP" => Ok(Self::Hup),
            "SIGUSR1" => Ok(Self::Usr1),
            "SIGUSR2" => Ok(Self::Usr2),
            other => Err(ReloadError::Signal(other.to_owned())),
        }
    }
}

/// Why a service could not be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReloadError {
    /// The signal.
    #[error("{0:?} is none of SIGHUP, SIGUSR1 and SIGUSR2")]
    Signal(String),
    /// PID 1.
    #[error("cannot ask PID 1 for the service {service}: {why}")]
    Control {
        /// Which service.
        service: String,
        /// What went wrong.
        why: String,
    },
    /// It does not run. It reads its files when it starts.
    #[error("the service {0} does not run")]
    NotRunning(String),
    /// It ended meanwhile, or may not be told.
    #[error("cannot signal the service {service}")]
    Send {
        /// Which service.
        service: String,
        /// Why not.
        source: std::io::Error,
    },
}

/// Tells services.
#[derive(Debug)]
pub struct Reloader {
    control: Control,
    host: Host,
}

impl Default for Reloader {
    fn default() -> Self {
        Self::new(lepton_control::SOCKET.into(), Host::default())
    }
}

impl Reloader {
    /// With PID 1 at that socket.
    pub fn new(socket: PathBuf, host: Host) -> Self {
        Self { control: Control::new(socket), host }
    }

    /// Sends a signal to the main process of a service.
    pub async fn reload(&self, service: &str, signal: ReloadSignal) -> Result<(), ReloadError> {
        let control = |error: ControlError| ReloadError::Control {
            service: service.to_owned(),
            why: error.to_string(),
        };
        let send = |source| ReloadError::Send { service: service.to_owned(), source };
        let not_running = || ReloadError::NotRunning(service.to_owned());
        let main = self.control.main_process(service).await.map_err(control)?.ok_or_else(not_running)?;
        let pid = i32::try_from(main).ok().and_then(Pid::from_raw).ok_or_else(not_running)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).map_err(|error| send(error.into()))?;
        // The number may have passed to somebody else before the descriptor was had.
        let cgroup = self.host.cgroup(main).map_err(send)?;
        if !cgroup.is_some_and(|path| is_below(&path, &format!("{SERVICES}/{service}"))) {
            return Err(not_running());
        }
        let signal = match signal {
            ReloadSignal::Hup => Signal::HUP,
            ReloadSignal::Usr1 => Signal::USR1,
            ReloadSignal::Usr2 => Signal::USR2,
        };
        pidfd_send_signal(process, signal).map_err(|error| send(error.into()))
    }
}
