//! The HTTP router of a Lepton host: requests for a host name go to the pods that answer for it and are ready.
//!
//! Which pods those are, kubelet says, over and over (`watch.rs`). Nothing is kept on a disk, and nothing but the machine
//! config and kubelet tells it anything.

mod connection;
mod endpoint;
mod forward;
mod headers;
mod listen;
mod log;
mod meter;
mod metrics;
mod peer;
mod pods;
mod record;
mod reply;
mod roster;
mod router;
mod settings;
mod stats;
mod table;
mod tls;
mod tunnel;
mod upload;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lepton_kubelet_client::Kubelet;
use tokio::signal::unix::{SignalKind, signal};

use listen::Listeners;
use log::say;
use router::Router;
use settings::MachineConfig;

/// Threads: the rest of the host has something to do, too.
const WORKERS: usize = 4;
/// Between two looks at the machine config.
const UPKEEP: Duration = Duration::from_secs(1);
/// What requests under way get to end; less than the service's `stop-timeout-s`.
const DRAIN: Duration = Duration::from_secs(8);

const USAGE: &str = "\
usage: lepton-route [OPTION VALUE]...
  --kubelet ADDRESS        where kubelet listens [127.0.0.1:10250]
  --credentials FOLDER     client.pem and ca.pem, which kubelet knows [/run/lepton/kubelet]
  --machine-config FILE    the host's machine config [/run/lepton/config.toml]
  --metrics SOCKET         where figures are asked for [/run/lepton/route/metrics.sock]";

struct Arguments {
    kubelet: SocketAddr,
    credentials: PathBuf,
    machine_config: PathBuf,
    metrics: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self {
            kubelet: SocketAddr::from(([127, 0, 0, 1], 10250)),
            credentials: "/run/lepton/kubelet".into(),
            machine_config: "/run/lepton/config.toml".into(),
            metrics: "/run/lepton/route/metrics.sock".into(),
        };
        while let Some(word) = words.next() {
            let value = words.next()?;
            match &*word {
                "--kubelet" => arguments.kubelet = value.parse().ok()?,
                "--credentials" => arguments.credentials = value.into(),
                "--machine-config" => arguments.machine_config = value.into(),
                "--metrics" => arguments.metrics = value.into(),
                _ => return None,
            }
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
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    match tokio.and_then(|tokio| tokio.block_on(run(arguments))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("route: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut config = MachineConfig::new(arguments.machine_config);
    let (settings, problems) = config.read();
    for problem in problems {
        say(format_args!("{problem}"));
    }
    let router = Arc::new(Router::new(settings));
    let mut listeners = Listeners::default();
    listeners.follow(&router);
    match metrics::listen(&arguments.metrics) {
        Ok(listener) => drop(tokio::spawn(metrics::serve(Arc::clone(&router), listener))),
        Err(error) => say(format_args!("cannot listen on {}: {error}", arguments.metrics.display())),
    }
    let kubelet = Kubelet::new(arguments.kubelet, &arguments.credentials);
    tokio::spawn(watch::run(Arc::clone(&router), kubelet));
    lepton_notify::ready();

    let mut upkeep = tokio::time::interval(UPKEEP);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = upkeep.tick() => {}
        }
        if config.has_changed() {
            let (settings, problems) = config.read();
            for problem in problems {
                say(format_args!("{problem}"));
            }
            router.set_settings(settings);
        }
        listeners.follow(&router);
    }

    lepton_notify::stopping();
    listeners.close();
    router.stop.send_replace(true);
    let drained = tokio::time::timeout(DRAIN, router.places.acquire_many(router::CONNECTIONS)).await;
    if drained.is_err() {
        say(format_args!("connections that were left are cut"));
    }
    Ok(())
}
