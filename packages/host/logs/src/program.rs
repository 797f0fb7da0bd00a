//! The program: reads the machine config, and starts what reads, keeps and sends. When what the config says about logs changes it
//! ends, and PID 1 starts it again: everything that matters is in the buffers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::buffer::Buffer;
use crate::intake::{Intake, ReadFigures, Taker};
use crate::metrics::{self, Metrics};
use crate::say::say;
use crate::send::{self, Destination, Identity};
use crate::settings::{MachineConfig, Settings};
use crate::source::discover::Places;
use crate::source::rings;
use crate::source::tail::Bench;
use crate::source::watch::{Wake, Watch};
use lepton_config::LogDestination;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Between two looks at the machine config.
const UPKEEP: Duration = Duration::from_secs(1);
/// What waits gets so long to be sent at the end; less than the service's `stop-timeout-s`.
const DRAIN: Duration = Duration::from_secs(4);
/// And connections so long to be closed.
const CLOSE: Duration = Duration::from_secs(1);
/// MiB of a buffer on a disk, and in memory.
const ON_DISK: u32 = 64;
const IN_MEMORY: u32 = 8;
/// Threads that ask for addresses of destinations.
const RESOLVERS: usize = 4;
/// Lines of PID 1 that wait for the reader.
const HEARD: usize = 4096;
/// File systems in memory (statfs(2)).
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

const USAGE: &str = "\
usage: lepton-logs [OPTION VALUE]...
  --machine-config FILE    the host's machine config [/run/lepton/config.toml]
  --state FOLDER           where lines wait [/var/lib/lepton/logs]
  --pods FOLDER            logs of pods [/var/log/pods]
  --containers FOLDER      logs of containers of the machine config [/var/log/lepton/containers]
  --host-logs FOLDER       logs that PID 1 keeps on a disk [/var/log/lepton]
  --control SOCKET         where PID 1 listens [/run/lepton/control.sock]
  --workload SOCKET        the SPIFFE Workload API [/run/spiffe/workload.sock]
  --metrics SOCKET         where figures are asked for [/run/lepton/logs/metrics.sock]";

struct Arguments {
    machine_config: PathBuf,
    state: PathBuf,
    pods: PathBuf,
    containers: PathBuf,
    host_logs: PathBuf,
    control: PathBuf,
    workload: PathBuf,
    metrics: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self {
            machine_config: "/run/lepton/config.toml".into(),
            state: "/var/lib/lepton/logs".into(),
            pods: "/var/log/pods".into(),
            containers: "/var/log/lepton/containers".into(),
            host_logs: "/var/log/lepton".into(),
            control: lepton_control::SOCKET.into(),
            workload: "/run/spiffe/workload.sock".into(),
            metrics: "/run/lepton/logs/metrics.sock".into(),
        };
        while let Some(word) = words.next() {
            let place = match &*word {
                "--machine-config" => &mut arguments.machine_config,
                "--state" => &mut arguments.state,
                "--pods" => &mut arguments.pods,
                "--containers" => &mut arguments.containers,
                "--host-logs" => &mut arguments.host_logs,
                "--control" => &mut arguments.control,
                "--workload" => &mut arguments.workload,
                "--metrics" => &mut arguments.metrics,
                _ => return None,
            };
            *place = words.next()?.into();
        }
        Some(arguments)
    }
}

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        say(format_args!("{USAGE}"));
        return ExitCode::from(2);
    };
    let mut tokio = tokio::runtime::Builder::new_current_thread();
    let tokio = tokio.enable_all().max_blocking_threads(RESOLVERS).build();
    match tokio.and_then(|tokio| tokio.block_on(run(&arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("logs: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut config = MachineConfig::new(arguments.machine_config.clone());
    let (settings, problems) = config.read();
    for problem in problems {
        say(format_args!("{problem}"));
    }
    let destinations = destinations(arguments, &settings)?;
    let metrics = Arc::new(Metrics { read: Arc::default(), destinations: destinations.clone() });
    let stop = Arc::new(AtomicBool::new(false));
    let wake = Arc::new(Wake::default());
    let (end, is_over) = watch::channel(false);
    let (mut reading, mut sending) = (None, Vec::new());
    if !destinations.is_empty() {
        let intake = intake(arguments, &settings, &destinations, &metrics.read, &wake)?;
        let stop = Arc::clone(&stop);
        reading = Some(thread::Builder::new().name("intake".to_owned()).spawn(move || intake.run(&stop))?);
        for destination in &destinations {
            sending.push(tokio::spawn(send::run(Arc::clone(destination), is_over.clone())));
        }
    }
    match metrics::listen(&arguments.metrics) {
        Ok(listener) => drop(tokio::spawn(metrics::serve(Arc::clone(&metrics), listener))),
        Err(error) => say(format_args!("cannot listen on {}: {error}", arguments.metrics.display())),
    }
    lepton_notify::ready_with(&status(&destinations));

    let mut upkeep = tokio::time::interval(UPKEEP);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = upkeep.tick() => {}
        }
        if config.has_changed() {
            break;
        }
        if reading.as_ref().is_some_and(thread::JoinHandle::is_finished) {
            return Err(io::Error::other("the reading thread has ended"));
        }
    }
    lepton_notify::stopping();
    stop.store(true, Ordering::Relaxed);
    wake.wake();
    let _ = tokio::time::timeout(DRAIN, drained(reading.as_ref(), &destinations)).await;
    end.send_replace(true);
    let closed = async {
        for task in sending {
            let _ = task.await;
        }
    };
    let _ = tokio::time::timeout(CLOSE, closed).await;
    Ok(())
}

/// Until all that was written is read, and all that waits is sent.
async fn drained(reading: Option<&thread::JoinHandle<()>>, destinations: &[Arc<Destination>]) {
    let is_reading = || reading.is_some_and(|thread| !thread.is_finished());
    while is_reading() || destinations.iter().any(|it| it.buffer.has_work()) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn status(destinations: &[Arc<Destination>]) -> String {
    match destinations {
        [] => "no destinations".to_owned(),
        some => format!("{} destinations", some.len()),
    }
}

fn destinations(arguments: &Arguments, settings: &Settings) -> io::Result<Vec<Arc<Destination>>> {
    fs::create_dir_all(&arguments.state)?;
    remove_others(&arguments.state, &settings.destinations)?;
    let mib = settings.buffer_mib.unwrap_or(if is_memory(&arguments.state)? { IN_MEMORY } else { ON_DISK });
    let shows = settings.destinations.iter().any(|it| it.identity == Some(true));
    let identity = shows.then(|| Identity::start(arguments.workload.clone()));
    let open = |it: &LogDestination| {
        let name = it.name.to_string();
        let buffer = Buffer::open(&arguments.state.join(&name), u64::from(mib) << 20)?;
        Ok(Arc::new(Destination {
            name,
            scheme: it.url.scheme(),
            authority: it.url.authority(),
            host: it.url.host().to_owned(),
            prefix: it.url.prefix().to_owned(),
            compression: it.compression.unwrap_or_default(),
            trust_bundle: it.trust_bundle.as_ref().map(|pem| pem.as_str().to_owned()),
            identity: identity.clone().filter(|_| it.identity == Some(true)),
            buffer: Arc::new(buffer),
            figures: send::SendFigures::default(),
        }))
    };
    settings.destinations.iter().map(open).collect()
}

fn is_memory(folder: &Path) -> io::Result<bool> {
    let kind = u64::try_from(rustix::fs::statfs(folder)?.f_type).unwrap_or_default();
    Ok(matches!(kind, TMPFS | RAMFS))
}

/// What waits for a destination that is no longer one is nobody's.
fn remove_others(state: &Path, destinations: &[LogDestination]) -> io::Result<()> {
    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    let entries = fs::read_dir(state)?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let is_one = destinations.iter().any(|it| name.to_str() == Some(&it.name.to_string()));
        if !is_one && entry.file_type()?.is_dir() {
            say(format_args!("{}: no destination any more; what waits for it is removed", name.display()));
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn intake(
    arguments: &Arguments,
    settings: &Settings,
    destinations: &[Arc<Destination>],
    figures: &Arc<ReadFigures>,
    wake: &Arc<Wake>,
) -> io::Result<Intake> {
    let takers: Vec<Taker> = destinations
        .iter()
        .zip(&settings.destinations)
        .map(|(destination, it)| Taker {
            buffer: Arc::clone(&destination.buffer),
            kinds: Settings::kinds(it),
        })
        .collect();
    // Where PID 1 does not answer, what is there is read.
    let has_files = rings::has_files(&arguments.control).unwrap_or(true);
    let places = Places {
        pods: arguments.pods.clone(),
        containers: arguments.containers.clone(),
        host: has_files.then(|| arguments.host_logs.clone()),
    };
    let (found, logs) = mpsc::channel();
    Watch::new(places, found, Arc::clone(wake))?.start()?;
    let mut heard = None;
    if !has_files {
        let (sender, receiver) = mpsc::sync_channel(HEARD);
        let kinds: Vec<_> = takers.iter().flat_map(|taker| taker.kinds.clone()).collect();
        let wants = move |source: &crate::source::Source| kinds.contains(&source.kind());
        rings::start(arguments.control.clone(), sender, Arc::clone(wake), wants)?;
        heard = Some(receiver);
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let bench = Bench::new(boot.trim().to_owned(), settings.per_second);
    let containers = settings.containers.clone();
    Ok(Intake::new(takers, containers, (logs, heard), Arc::clone(wake), Arc::clone(figures), bench))
}
