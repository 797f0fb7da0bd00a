//! The identity agent of a Lepton host: it proves who the host is to a SPIRE server, or is an authority itself, and serves
//! the SPIFFE Workload API to services and pods.
//!
//! The loop (`agent.rs`) is the only one that changes anything; workloads are served from memory (`cache.rs`), whatever
//! the loop waits for.

mod admin;
mod agent;
mod attest;
mod audit;
mod authority;
mod cache;
mod clock;
mod delivery;
mod encoded;
mod fetch;
mod files;
mod join;
mod keys;
mod kubelet_credential;
mod local;
mod log;
mod metrics;
mod places;
mod rotation;
mod server;
mod settings;
mod shared;
mod store;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lepton_workload_api::attest::Attestors;
use lepton_workload_api::attest::k8s::{K8s, KubeletAt};
use lepton_workload_api::attest::lepton::Lepton;
use lepton_workload_api::attest::unix::Unix;
use lepton_workload_api::delivery::Reloader;
use lepton_workload_api::{Host, Server, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use admin::Admin;
use agent::Agent;
use audit::Calls;
use cache::Cache;
use clock::{Clock, SystemClock};
use log::say;
use metrics::Metrics;
use places::Places;
use settings::MachineConfig;
use shared::Shared;

/// Where kubelet listens.
const KUBELET: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 10250);
/// The host is ready without an identity after that, as a server may be away for long.
const PATIENCE: Duration = Duration::from_secs(15);
/// Between two signs of life; PID 1 waits several times as long.
const ALIVE: Duration = Duration::from_secs(10);

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).peekable();
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    if let Ok(tokio) = &tokio
        && words.next_if(|word| word == kubelet_credential::COMMAND).is_some()
    {
        return tokio.block_on(kubelet_credential::run(words));
    }
    let Some(places) = Places::parse(words) else {
        say(format_args!("{}", places::USAGE));
        return ExitCode::from(2);
    };
    match tokio.map_err(Into::into).and_then(|tokio| tokio.block_on(run(places))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("identity: {}", chain(&*error)));
            lepton_notify::status(&chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

async fn run(places: Places) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let metrics = Arc::new(Metrics::default());
    let config = MachineConfig::new(places.machine_config.clone(), places.allow_insecure_bootstrap);
    let mut shared = None;
    let agent = Agent::new(places.clone(), config, Arc::clone(&clock), |domain| {
        let cache = Cache::new(domain.clone(), Arc::clone(&clock), Arc::clone(&metrics));
        let made = Shared::new(domain, Arc::clone(&clock), Arc::new(cache), Arc::clone(&metrics));
        Arc::clone(shared.insert(Arc::new(made)))
    })?;
    let shared = shared.ok_or("the agent has no state")?;

    let mut settings = Settings::new(attestors(&places));
    settings.socket = places.workload.clone();
    let server = Server::bind(settings)?;
    let (commands, orders) = mpsc::channel(16);
    admin::start(Arc::new(Admin { shared: Arc::clone(&shared), commands }), &places.admin);
    let reloader = Reloader::new(places.control.clone(), Host::default());
    tokio::spawn(delivery::run(Arc::clone(&shared), reloader));
    tokio::spawn(tell_when_ready(Arc::clone(&shared)));
    tokio::spawn(stay_alive());

    let calls = Arc::new(Calls { clock, metrics });
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // It ends only with everybody who could ask it for something.
            () = agent.run(orders) => {}
        }
        lepton_notify::stopping();
    };
    server.run(Arc::clone(&shared.cache), calls, stop).await?;
    Ok(())
}

/// Who finds out about callers of the Workload API.
fn attestors(places: &Places) -> Attestors {
    let kubelet = KubeletAt { address: KUBELET, credentials: places.kubelet.clone() };
    Attestors::new()
        .with(Unix::default())
        .with(Lepton::new(places.control.clone()))
        .with(K8s::new(&places.runtime, Some(kubelet)))
}

/// Others start when workloads can have identities, but they do not wait for a server for long.
async fn tell_when_ready(shared: Arc<Shared>) {
    let mut states = shared.states();
    let _ = tokio::time::timeout(PATIENCE, states.wait_for(|state| state.serves())).await;
    lepton_notify::ready();
}

/// PID 1 starts an agent anew that hangs.
async fn stay_alive() {
    let mut beats = tokio::time::interval(ALIVE);
    loop {
        beats.tick().await;
        lepton_notify::alive();
    }
}
