//! Figures of a host: processors, memory, pressure, disks, network, services, containers, identity and logs, in the text
//! format of OpenMetrics 1.0 and in that of Prometheus (0.0.4).
//!
//! Everything is read when it is asked for; nothing is kept. What cannot be read is left out, and
//! `lepton_collector_success` says so. [`collect`] waits for other services, with a bound: it is not for the thread of an
//! async runtime.
#![forbid(unsafe_code)]

mod cgroups;
mod devices;
mod family;
mod filesystems;
mod foreign;
mod host;
mod kernel;
mod runtime;
mod services;

use std::path::PathBuf;
use std::time::{Duration, Instant};

pub use family::Format;
use family::{Families, Kind};

/// What one service may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where everything is on a host. Tests put it elsewhere.
#[derive(Clone, Debug)]
pub struct Places {
    /// proc(5).
    pub proc: PathBuf,
    /// sysfs(5).
    pub sys: PathBuf,
    /// os-release(5).
    pub os_release: PathBuf,
    /// PID 1's control socket.
    pub control: PathBuf,
    /// The socket of the container runtime.
    pub runtime: PathBuf,
    /// The admin socket of the identity agent.
    pub identity: PathBuf,
    /// Where the service `logs` has its figures.
    pub logs: PathBuf,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            proc: "/proc".into(),
            sys: "/sys".into(),
            os_release: "/usr/lib/os-release".into(),
            control: lepton_control::SOCKET.into(),
            runtime: "/run/lepton/runtime.sock".into(),
            identity: lepton_identity_control::SOCKET.into(),
            logs: "/run/lepton/logs/metrics.sock".into(),
        }
    }
}

/// Whether a part of the figures could be had; a service that is not there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Read,
    Absent,
    Failed,
}

/// What reads a part.
type Collector = fn(&Places, &mut Families) -> Outcome;

const COLLECTORS: [(&str, Collector); 9] = [
    ("build", host::build),
    ("kernel", kernel::collect),
    ("pressure", kernel::pressure),
    ("devices", devices::collect),
    ("filesystems", filesystems::collect),
    ("services", services::collect),
    ("runtime", runtime::collect),
    ("identity", foreign::identity),
    ("logs", foreign::logs),
];

/// All figures as OpenMetrics text (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
pub fn collect(places: &Places) -> String {
    collect_as(places, Format::OpenMetrics)
}

/// All figures in that format.
pub fn collect_as(places: &Places, format: Format) -> String {
    collect_with(places, format, "")
}

/// The same with the caller's own, which are in the text format of Prometheus (0.0.4).
pub fn collect_with(places: &Places, format: Format, own: &str) -> String {
    let mut families = Families::default();
    foreign::read(own, &mut families);
    let mut told = Vec::new();
    for (name, collector) in COLLECTORS {
        let began = Instant::now();
        let outcome = collector(places, &mut families);
        if outcome != Outcome::Absent {
            told.push((name, outcome, began.elapsed()));
        }
    }
    let success =
        families.add("lepton_collector_success", Kind::Gauge, "Whether a part of the figures could be read.");
    for (name, outcome, _) in &told {
        success.number(&[("collector", name)], u64::from(*outcome == Outcome::Read));
    }
    let help = "Time that a part of the figures took.";
    let took = families.add("lepton_collector_duration_seconds", Kind::Gauge, help);
    for (name, _, time) in &told {
        took.real(&[("collector", name)], time.as_secs_f64());
    }
    families.text(format)
}

#[cfg(test)]
mod tests;
