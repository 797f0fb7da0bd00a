//! Answers.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigChange, ConfigProblem, HostConfig};

/// One line of PID 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The request was taken.
    Done,
    /// The request was refused.
    Error {
        /// What kind of mistake it is.
        kind: ErrorKind,
        /// The mistake, for people.
        message: String,
    },
    /// The whole host.
    Status(Box<Status>),
    /// All services, in start order.
    Services(Vec<ServiceStatus>),
    /// One service.
    Service(Box<ServiceStatus>),
    /// A service came into another state.
    Change(Box<Change>),
    /// So many changes were not sent, because the client took them too slowly. [`Answer::Services`] follows.
    Lost(u64),
    /// One record of a log.
    Line(LogLine),
    /// There are no more records.
    End,
    /// The machine config.
    Config(Box<HostConfig>),
    /// What a machine config changes, or would.
    ConfigChange(Box<ConfigChange>),
    /// Everything that is wrong with a machine config; nothing of it was applied.
    ConfigProblems(Vec<ConfigProblem>),
}

impl Answer {
    /// The line that says this, with its end.
    pub fn to_line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("answers are made of text, numbers and lists");
        line.push('\n');
        line
    }

    /// A refusal.
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Error { kind, message: message.into() }
    }
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The line is no request.
    BadRequest,
    /// There is no service of this name.
    NoService,
    /// The client may not ask this.
    NotAllowed,
    /// It cannot be done now, or not on this host.
    Refused,
    /// The machine config is another one than the client saw, or one is on trial.
    Conflict,
    /// No machine config of that name is on trial.
    NoTrial,
}

/// Where the host is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Services are starting for the first time.
    Starting,
    /// Every service that the host waits for is ready.
    Ready,
    /// A required service was given up.
    Failed,
    /// The host is going down.
    Stopping,
}

/// The whole host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// `IMAGE_ID` of os-release.
    pub image: Option<String>,
    /// `IMAGE_VERSION` of os-release.
    pub version: Option<String>,
    /// Architecture, as image names have it.
    pub arch: String,
    /// Release of the kernel (uname(2)).
    pub kernel: String,
    /// Where the host is in its life.
    pub phase: Phase,
    /// Milliseconds since the kernel's start.
    pub uptime_ms: u64,
    /// Milliseconds from the kernel's start to the ready line.
    pub ready_ms: Option<u64>,
    /// The host name in use.
    pub hostname: String,
    /// Addresses that other hosts can reach.
    pub addresses: Vec<String>,
    /// What `/var` is.
    pub state: StateStatus,
    /// Where the configuration came from.
    pub config: ConfigStatus,
    /// Memory of the host.
    pub memory: Option<Memory>,
    /// All services, in start order.
    pub services: Vec<ServiceStatus>,
}

/// What `/var` is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StateStatus {
    /// Its device node; none when it is in memory.
    pub device: Option<String>,
    /// Name of its file system.
    pub filesystem: String,
}

/// Where the configuration came from, and what was wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigStatus {
    /// Sources, lowest precedence first.
    pub sources: Vec<String>,
    /// One sentence for each mistake.
    pub errors: Vec<String>,
}

/// Memory of the host in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Memory {
    /// `MemTotal` of /proc/meminfo.
    pub total_kb: u64,
    /// `MemTotal` - `MemAvailable`.
    pub used_kb: u64,
}

/// Where a service is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// It waits for services that it needs.
    Waiting,
    /// It runs and is not ready yet.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It was told to end and has not ended yet.
    Stopping,
    /// It ended and waits to be started again.
    BackOff,
    /// A oneshot that ended well.
    Done,
    /// It was stopped, or never started.
    Stopped,
    /// It was given up.
    Failed,
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopping => "stopping",
            Self::BackOff => "back-off",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        })
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// Where it is in its life.
    pub state: ServiceState,
    /// What it said of itself last (`STATUS=`).
    pub text: Option<String>,
    /// Its main process.
    pub pid: Option<u32>,
    /// How often it was started since the host's start.
    pub starts: u32,
    /// How it ended last, for people.
    pub last_end: Option<String>,
    /// Milliseconds since it came into its state.
    pub for_ms: u64,
    /// Memory of its cgroup in KiB, while it has one.
    pub memory_kb: Option<u64>,
    /// Processes and threads of its cgroup, while it has one.
    pub tasks: Option<u64>,
    /// Log lines that were dropped because they came too fast.
    pub dropped_lines: u64,
}

/// A change of a service's state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// When, in milliseconds from the kernel's start.
    pub ms: u64,
    /// The state before; none for a service that is new.
    pub before: Option<ServiceState>,
    /// The service, with the state that it came into. What it uses is that of a moment later.
    pub service: ServiceStatus,
}

/// One record of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogLine {
    /// Its number among the lines of its log: the first since the host's start has 0, and each has one more than the one
    /// before it. A notice that lines are missing has the number of the last of these.
    pub number: u64,
    /// Milliseconds from the kernel's start.
    pub ms: u64,
    /// The text, without its line end; bytes that are no UTF-8 are replaced.
    pub text: String,
}

impl LogLine {
    /// A line that no log has numbered yet.
    pub fn new(ms: u64, text: impl Into<String>) -> Self {
        Self { number: 0, ms, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_lines() {
        let line = Answer::Line(LogLine { number: 3, ms: 7, text: "a\nb".into() });
        assert_eq!(line.to_line(), "{\"line\":{\"number\":3,\"ms\":7,\"text\":\"a\\nb\"}}\n");
        assert_eq!(Answer::Done.to_line(), "\"done\"\n");
        assert_eq!(serde_json::from_str::<Answer>(line.to_line().trim_end()).unwrap(), line);
        assert_eq!(
            Answer::error(ErrorKind::NoService, "x").to_line(),
            "{\"error\":{\"kind\":\"no-service\",\"message\":\"x\"}}\n"
        );
    }
}
