//! The server: the socket, its limits and its calls.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lepton_spiffe_api::workload::spiffe_workload_api_server::SpiffeWorkloadApiServer;
use tokio::net::UnixListener;
use tonic::transport;

use crate::Identities;
use crate::attest::Attestors;
use crate::host::Host;
use crate::listen::{Incoming, listen};
use crate::observer::Observer;
use crate::service::Service;
use crate::slots::Slots;

/// Where workloads find the Workload API.
pub const SOCKET: &str = "/run/spiffe/workload.sock";
/// Connections at a time. Each has two descriptors here.
const CONNECTIONS: usize = 4096;
/// Calls of one connection at a time; clients have a handful.
const STREAMS: u32 = 32;
/// The largest request: a token to be validated.
const LARGEST: usize = 128 * 1024;
/// All headers of a request.
const HEADERS: u32 = 8 * 1024;
/// What a connection may send before it is read. Requests are small.
const WINDOW: u32 = 256 * 1024;
/// Calls that were cancelled and are not forgotten yet (CVE-2023-44487).
const RESETS: usize = 32;
/// A client that answers nothing for a while hangs, or does not read.
const PING: Duration = Duration::from_secs(60);
const PONG: Duration = Duration::from_secs(60);

/// How to serve.
#[derive(Debug)]
pub struct Settings {
    /// Where.
    pub socket: PathBuf,
    /// Where to read of processes.
    pub host: Host,
    /// Who finds out about callers.
    pub attestors: Attestors,
    /// Connections at a time.
    pub connections: usize,
}

impl Settings {
    /// At the usual place, with these attestors.
    pub fn new(attestors: Attestors) -> Self {
        Self { socket: SOCKET.into(), host: Host::default(), attestors, connections: CONNECTIONS }
    }
}

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The socket.
    #[error("cannot listen on {socket}")]
    Listen {
        /// Where.
        socket: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The transport.
    #[error("cannot serve the Workload API")]
    Serve(#[from] transport::Error),
}

/// A socket that is listened to.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    settings: Settings,
}

impl Server {
    /// Listens; callers that connect wait until [`Server::run`] is polled. A Tokio runtime is needed.
    pub fn bind(settings: Settings) -> Result<Self, ServerError> {
        let failed = |source| ServerError::Listen { socket: settings.socket.clone(), source };
        let listener = listen(&settings.socket).map_err(failed)?;
        Ok(Self { listener, settings })
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.settings.socket
    }

    /// Serves until `stop` is there; calls under way are cut off then.
    pub async fn run<I: Identities>(
        self,
        identities: Arc<I>,
        observer: Arc<dyn Observer>,
        stop: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let Settings { host, attestors, connections, .. } = self.settings;
        let slots = Slots::new(connections);
        let incoming = Incoming::new(self.listener, host.clone(), slots, Arc::clone(&observer));
        let service = Service { identities, observer, attestors: Arc::new(attestors), host };
        let service = SpiffeWorkloadApiServer::new(service).max_decoding_message_size(LARGEST);
        let serving = transport::Server::builder()
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .http2_max_header_list_size(HEADERS)
            .http2_max_pending_accept_reset_streams(Some(RESETS))
            .http2_keepalive_interval(Some(PING))
            .http2_keepalive_timeout(Some(PONG))
            .serve_with_incoming(service, incoming);
        tokio::select! {
            served = serving => served.map_err(ServerError::Serve),
            () = stop => Ok(()),
        }
    }
}
