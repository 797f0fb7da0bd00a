//! A trust domain, its registrations, and clients of the Workload API.
#![allow(dead_code, reason = "each test uses some of it")]

mod authority;
mod cache;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lepton_spiffe_api::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lepton_workload_api::attest::Attestors;
use lepton_workload_api::{Event, Host, Observer, Server, Settings};
use tokio::runtime::Runtime;
use tonic::metadata::MetadataValue;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub(crate) use authority::Authority;
pub(crate) use cache::Cache;

/// For what comes at once, on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A client that sends the header.
pub(crate) type Client =
    SpiffeWorkloadApiClient<InterceptedService<Channel, fn(Request<()>) -> Result<Request<()>, Status>>>;

fn with_header(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    Ok(request)
}

/// A connection, made at once.
pub(crate) async fn connect(socket: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    endpoint.connect().await.unwrap()
}

/// A client that lets the server send little before it reads.
pub(crate) async fn small_client(socket: &Path) -> Client {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    SpiffeWorkloadApiClient::with_interceptor(endpoint.connect().await.unwrap(), with_header)
}

/// A client of its own connection.
pub(crate) async fn client(socket: &Path) -> Client {
    SpiffeWorkloadApiClient::with_interceptor(connect(socket).await, with_header)
}

/// Keeps what the server tells.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<Vec<String>>);

impl Observer for Seen {
    fn saw(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(format!("{event:?}"));
    }
}

impl Seen {
    /// How many events have these texts.
    pub(crate) fn count(&self, texts: &[&str]) -> usize {
        self.0.lock().unwrap().iter().filter(|event| texts.iter().all(|text| event.contains(text))).count()
    }

    /// All events.
    pub(crate) fn all(&self) -> String {
        self.0.lock().unwrap().join("\n")
    }
}

/// A server that listens.
pub(crate) struct Waiting {
    folder: tempfile::TempDir,
    pub(crate) cache: Arc<Cache>,
    server: Server,
}

impl Waiting {
    pub(crate) fn new(runtime: &Runtime, attestors: Attestors) -> Self {
        let _entered = runtime.enter();
        Self::with_connections(attestors, 64)
    }

    fn with_connections(attestors: Attestors, connections: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(attestors);
        settings.socket = folder.path().join("spiffe/workload.sock");
        settings.host = Host::of_process(std::process::id());
        settings.connections = connections;
        // Others must get at the socket.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).unwrap();
        Self { folder, cache: Arc::new(Cache::new("example.org")), server: Server::bind(settings).unwrap() }
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.server.socket().to_owned()
    }

    /// Runs it.
    pub(crate) fn run(self, runtime: &Runtime) -> Running {
        let _entered = runtime.enter();
        self.run_here()
    }

    fn run_here(self) -> Running {
        let Self { folder, cache, server } = self;
        let seen = Arc::new(Seen::default());
        let serving =
            server.run(Arc::clone(&cache), Arc::clone(&seen) as Arc<dyn Observer>, std::future::pending());
        let task = tokio::spawn(async move { serving.await.unwrap() });
        Running { folder, cache, seen, task }
    }
}

/// A server that runs as long as this lives.
pub(crate) struct Running {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) cache: Arc<Cache>,
    pub(crate) seen: Arc<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    /// This process's namespaces are the host's.
    pub(crate) fn new(attestors: Attestors) -> Self {
        Self::with_connections(attestors, 64)
    }

    pub(crate) fn with_connections(attestors: Attestors, connections: usize) -> Self {
        Waiting::with_connections(attestors, connections).run_here()
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("spiffe/workload.sock")
    }

    pub(crate) async fn client(&self) -> Client {
        client(&self.socket()).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}
