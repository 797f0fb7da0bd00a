//! What is known of the host besides its services: facts for the ready line and for status.

use std::time::Duration;

use lepton_control::{ConfigStatus, Memory, Phase, ServiceStatus, StateStatus, Status};

use crate::clock::{self, millis};
use crate::network;
use crate::os_release::OsRelease;
use crate::ready::{MemInfo, Report};
use crate::source::Before;
use crate::state::State;

use super::applied::RunningConfig;

/// Facts of the boot.
#[derive(Debug)]
pub struct Host {
    /// Which image runs.
    pub image: OsRelease,
    /// Kernel start to the start of PID 1.
    pub kernel: Duration,
    /// What `/var` is.
    pub state: State,
    /// What was wrong with the configuration at the start.
    pub errors: Vec<String>,
    /// The configuration in use, and what was applied on the running host.
    pub config: RunningConfig,
    /// What was in place of it.
    pub before: Before,
    /// What was wrong with what was applied.
    pub applied_errors: Vec<String>,
    /// The name that the network has for the host.
    pub network_name: Option<String>,
    /// Whether the configuration names the host, so that nobody else may.
    pub is_named: bool,
    /// When the ready line was printed.
    pub ready: Option<Duration>,
    /// Where the host is in its life.
    pub phase: Phase,
}

impl Host {
    /// What was wrong, at the start and later.
    pub(super) fn errors(&self) -> Vec<String> {
        [self.errors.as_slice(), &self.config.layers.errors, &self.applied_errors].concat()
    }

    /// The ready line's contents; `services` are names with what became of them.
    pub fn report(&self, services: Vec<(String, String)>) -> Report {
        Report {
            image: self.image.clone(),
            arch: std::env::consts::ARCH,
            kernel: self.kernel,
            ready: clock::since_boot(),
            memory: MemInfo::read(),
            hostname: hostname(),
            addresses: network::addresses(),
            state: self.state.clone(),
            sources: self.config.layers.names(),
            errors: self.errors(),
            services,
        }
    }

    /// The answer to a question for the host's status.
    pub fn status(&self, services: Vec<ServiceStatus>) -> Status {
        let memory = MemInfo::read();
        Status {
            image: self.image.image.clone(),
            version: self.image.version.clone(),
            arch: std::env::consts::ARCH.to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            phase: self.phase,
            uptime_ms: millis(clock::since_boot()),
            ready_ms: self.ready.map(millis),
            hostname: hostname(),
            addresses: network::addresses(),
            state: StateStatus {
                device: self.state.device.clone(),
                filesystem: self.state.filesystem.to_owned(),
            },
            config: ConfigStatus { sources: self.config.layers.names(), errors: self.errors() },
            memory: memory.map(|memory| Memory { total_kb: memory.total_kb, used_kb: memory.used_kb() }),
            services,
        }
    }
}

/// The name in use, as the kernel has it.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
