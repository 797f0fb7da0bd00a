//! The service `network`: reads the machine config, and runs until SIGTERM. It leaves addresses and routes as they
//! are, so that a restart of the service interrupts nothing.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lepton_network::daemon::{Daemon, Surroundings};
use lepton_network::hostname::Pid1;
use lepton_network::ntp::{Ntp, SystemClock};
use lepton_network::random::Random;
use lepton_network::settings::Settings;
use lepton_notify::Notify;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

const CONFIG: &str = "/run/lepton/config.toml";
const RUN: &str = "/run/lepton";
const RESOLV_CONF: &str = "/etc/resolv.conf";
const USAGE: &str = "usage: network [--config FILE] [--run FOLDER] [--resolv-conf FILE] [--wired LINK]...";

/// What the command line says.
struct Arguments {
    config: PathBuf,
    run: PathBuf,
    resolv_conf: PathBuf,
    /// Links that count as hardware although the kernel made them: a container's veth, a test's.
    wired: Vec<String>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A sentence that ends the program.
type Sentence = String;

/// Says what could not be done. (The usual crate for this brings a stack unwinder, which programs of hosts lack.)
fn cannot<E: std::fmt::Display>(what: &str) -> impl Fn(E) -> Sentence {
    move |error| format!("cannot {what}: {error}")
}

fn run() -> Result<(), Sentence> {
    let arguments = arguments(std::env::args().skip(1))?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block().map_err(cannot("block signals"))?;
    let stop = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map_err(cannot("open a signalfd"))?;
    let (settings, errors) = settings(&arguments.config);
    for error in &errors {
        eprintln!("{error}");
    }
    let leases = arguments.run.join("leases");
    std::fs::create_dir_all(&leases).map_err(cannot(&format!("make {}", leases.display())))?;
    let mut random = Random::from_kernel();
    let ntp = Ntp::new(Box::<SystemClock>::default(), Random::from_seed(random.next_u64()));
    let surroundings = Surroundings {
        settings,
        errors,
        run: arguments.run,
        resolv_conf: arguments.resolv_conf,
        wired: arguments.wired,
        hostname: Box::new(Pid1),
        ntp,
        notify: Notify::from_env(),
        watchdog: lepton_notify::watchdog(),
    };
    let mut daemon = Daemon::new(surroundings).map_err(cannot("open a netlink socket"))?;
    daemon.run(stop.as_fd()).map_err(cannot("go on"))
}

fn arguments(mut words: impl Iterator<Item = String>) -> Result<Arguments, Sentence> {
    let mut arguments = Arguments {
        config: CONFIG.into(),
        run: RUN.into(),
        resolv_conf: RESOLV_CONF.into(),
        wired: Vec::new(),
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--config" => arguments.config = value()?.into(),
            "--run" => arguments.run = value()?.into(),
            "--resolv-conf" => arguments.resolv_conf = value()?.into(),
            "--wired" => arguments.wired.push(value()?),
            _ => return Err(format!("unknown argument {word}\n{USAGE}")),
        }
    }
    Ok(arguments)
}

/// The effective config. What cannot be read is left out: a host with a bad config must be reachable.
fn settings(path: &Path) -> (Settings, Vec<String>) {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return (Settings::default(), vec![format!("cannot read {}: {error}", path.display())]),
    };
    let parsed = lepton_config::parse_bytes(&path.display().to_string(), &text);
    let problems = parsed.problems.iter().map(ToString::to_string).collect();
    (Settings::from_config(&parsed.config), problems)
}
