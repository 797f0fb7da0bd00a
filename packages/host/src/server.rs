//! The service as a whole: its state, its sockets, and its life.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lepton_host_api::MAX_MESSAGE;
use lepton_host_api::v1::host_server::HostServer;
use lepton_host_metrics::Format;
use tokio::sync::Semaphore;
use tonic::Status;

use crate::handshakes::Handshakes;
use crate::listen::{self, Listeners};
use crate::log::say;
use crate::methods::{Methods, blocking};
use crate::places::Places;
use crate::settings::MachineConfig;
use crate::trusted::Trusted;
use crate::{identity, settings};

/// Connections of the network at a time, of those who have shown a certificate: of admins, and of all others.
const ADMIN_CONNECTIONS: usize = 16;
const CONNECTIONS: usize = 48;
/// Connections of processes of this host.
const LOCAL_CONNECTIONS: usize = 32;
/// Between two looks at the machine config.
const UPKEEP: Duration = Duration::from_secs(1);
/// Between two signs of life; PID 1 waits several times as long.
const ALIVE: Duration = Duration::from_secs(10);

/// Why the service cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Its local socket.
    #[error("cannot listen on {socket}")]
    Listen {
        /// Where.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// All that connections share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) trusted: Arc<Trusted>,
    pub(crate) service: HostServer<Methods>,
    metrics: Arc<lepton_host_metrics::Places>,
    /// The user that the service runs as, root, who may call on the local socket.
    pub(crate) root: u32,
    pub(crate) handshakes: Arc<Handshakes>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) admin_places: Arc<Semaphore>,
    pub(crate) local_places: Arc<Semaphore>,
}

impl Server {
    fn new(places: Arc<Places>, trusted: Arc<Trusted>) -> Self {
        let metrics = lepton_host_metrics::Places {
            proc: places.proc.clone(),
            sys: places.sys.clone(),
            control: places.control.clone(),
            runtime: places.runtime.clone(),
            ..Default::default()
        };
        let service = HostServer::new(Methods::new(places, Arc::clone(&trusted)))
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE);
        Self {
            trusted,
            service,
            metrics: Arc::new(metrics),
            root: rustix::process::geteuid().as_raw(),
            handshakes: Arc::default(),
            places: Arc::new(Semaphore::new(CONNECTIONS)),
            admin_places: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)),
            local_places: Arc::new(Semaphore::new(LOCAL_CONNECTIONS)),
        }
    }

    /// All figures of the host.
    pub(crate) async fn service_metrics(&self, format: Format) -> Result<String, Status> {
        let (places, own) = (Arc::clone(&self.metrics), self.handshakes.figures());
        blocking(move || Ok(lepton_host_metrics::collect_with(&places, format, &own))).await
    }
}

/// Serves until `stop` is there. Calls under way are cut off then.
pub async fn run(places: Places, stop: impl Future<Output = ()>) -> Result<(), ServerError> {
    let local = listen::bind(&places.socket);
    let local = local.map_err(|source| ServerError::Listen { socket: places.socket.clone(), source })?;
    let (places, trusted) = (Arc::new(places), Arc::new(Trusted::default()));
    let server = Arc::new(Server::new(Arc::clone(&places), Arc::clone(&trusted)));
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(listen::accept_local(Arc::clone(&server), local));
    let (workload, believed) = (places.workload.clone(), Arc::clone(&trusted));
    tasks.spawn(async move { identity::follow(&workload, &believed).await });
    tasks.spawn(look_after(server, places.machine_config.clone()));
    tasks.spawn(stay_alive());
    lepton_notify::ready();
    stop.await;
    lepton_notify::stopping();
    Ok(())
}

/// Does what the machine config says, now and whenever it changes.
async fn look_after(server: Arc<Server>, path: PathBuf) {
    let (mut config, mut wanted) = (MachineConfig::new(path), settings::Settings::default());
    let (mut listeners, mut trust) = (Listeners::default(), server.trusted.changes());
    let mut upkeep = tokio::time::interval(UPKEEP);
    upkeep.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if let Some((settings, problems)) = config.changed() {
            for problem in problems {
                say(format_args!("{problem}"));
            }
            server.trusted.set_clients(settings.clients.clone());
            wanted = settings;
        }
        // Without a certificate of its own the host has nothing to answer a handshake with.
        let open = if server.trusted.ready().is_some() { wanted.listen.as_slice() } else { &[] };
        listeners.follow(&server, open);
        tokio::select! {
            _ = upkeep.tick() => {}
            _ = trust.changed() => {}
        }
    }
}

/// PID 1 starts a service anew that hangs.
async fn stay_alive() {
    let mut beats = tokio::time::interval(ALIVE);
    loop {
        beats.tick().await;
        lepton_notify::alive();
    }
}
