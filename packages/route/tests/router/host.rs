//! A host: a kubelet that knows some pods, and the router.

use std::convert::Infallible;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::client;

const RECORD: &str = include_str!("../pods.json");
const ROOT: &[u8] = include_bytes!("../certificates/root.pem");
const KUBELET: &[u8] = include_bytes!("../certificates/kubelet.pem");
const CLIENT: &[u8] = include_bytes!("../certificates/client.pem");

/// The router, and what it needs.
pub(crate) struct Host {
    folder: tempfile::TempDir,
    router: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Where it listens for TLS, if it does.
    pub(crate) tls_address: SocketAddr,
    pub(crate) kubelet: Kubelet,
}

/// A kubelet.
pub(crate) struct Kubelet {
    pub(crate) address: SocketAddr,
    pods: Arc<Mutex<Vec<Value>>>,
    task: Option<JoinHandle<()>>,
}

/// An address that nobody uses.
pub(crate) fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A pod with a route, as kubelet lists it.
pub(crate) fn pod(name: &str, hosts: &str, address: SocketAddr) -> Value {
    let mut list: Value = serde_json::from_str(RECORD).unwrap();
    let mut pod = list["items"][0].take();
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["uid"] = json!(format!("uid-of-{name}"));
    pod["metadata"]["annotations"]["lepton.route/host"] = json!(hosts);
    pod["metadata"]["annotations"]["lepton.route/port"] = json!(address.port().to_string());
    pod["status"]["podIP"] = json!(address.ip().to_string());
    pod["status"]["podIPs"] = json!([{ "ip": address.ip().to_string() }]);
    pod
}

/// The same pod, not ready.
pub(crate) fn unready(mut pod: Value) -> Value {
    pod["status"] = json!({ "phase": "Pending" });
    pod
}

impl Kubelet {
    async fn new() -> Self {
        let mut kubelet = Self { address: free_address(), pods: Arc::default(), task: None };
        kubelet.start().await;
        kubelet
    }

    /// What it lists from now on.
    pub(crate) fn set(&self, pods: impl IntoIterator<Item = Value>) {
        *self.pods.lock().unwrap() = pods.into_iter().collect();
    }

    /// It answers.
    pub(crate) async fn start(&mut self) {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates([CertificateDer::from_pem_slice(ROOT).unwrap()]);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(KUBELET).unwrap()],
                PrivateKeyDer::from_pem_slice(KUBELET).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(self.address).await.unwrap();
        let pods = Arc::clone(&self.pods);
        self.task = Some(tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (acceptor, pods) = (acceptor.clone(), Arc::clone(&pods));
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request: Request<Incoming>| {
                        assert_eq!(request.uri(), "/pods");
                        let items = pods.lock().unwrap().clone();
                        let list =
                            json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items });
                        let body = Full::new(Bytes::from(format!("{list}\n")));
                        std::future::ready(Ok::<_, Infallible>(Response::new(body)))
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        }));
    }

    /// It is gone, with its connections.
    pub(crate) async fn stop(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        let _ = task.await;
    }
}

impl Host {
    /// A host whose `[route]` table has these lines behind its addresses. The text `TLS` stands for the address for TLS.
    pub(crate) async fn new(route: &str) -> Self {
        let (address, tls_address) = (free_address(), free_address());
        let kubelet = Kubelet::new().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("client.pem"), CLIENT).unwrap();
        std::fs::write(folder.path().join("ca.pem"), ROOT).unwrap();
        let mut host =
            Self { router: Command::new("true").spawn().unwrap(), folder, address, tls_address, kubelet };
        host.configure(route);
        host.start();
        host
    }

    /// The router is started.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::create(self.log_path()).unwrap();
        self.router = Command::new(env!("CARGO_BIN_EXE_route"))
            .args(["--kubelet", &self.kubelet.address.to_string()])
            .args(
                [format!("--credentials={}", self.folder.path().display())]
                    .iter()
                    .flat_map(|it| it.split('=')),
            )
            .arg("--machine-config")
            .arg(self.folder.path().join("config.toml"))
            .arg("--metrics")
            .arg(self.metrics_path())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
    }

    /// Writes the machine config.
    pub(crate) fn configure(&self, route: &str) {
        let text = format!(
            "[route]\nlisten = [\"{}\"]\nlisten-tls = [\"{}\"]\n{route}",
            self.address, self.tls_address
        );
        let new = self.folder.path().join("config.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.folder.path().join("config.toml")).unwrap();
    }

    /// Takes away or brings back what kubelet knows the router by.
    pub(crate) fn set_credentials(&self, are_there: bool) {
        let path = self.folder.path().join("client.pem");
        if are_there { std::fs::write(path, CLIENT).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn metrics_path(&self) -> PathBuf {
        self.folder.path().join("run/metrics.sock")
    }

    pub(crate) fn log(&self) -> String {
        let mut text = String::new();
        std::fs::File::open(self.log_path()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Waits until a request for that host has this status.
    pub(crate) async fn wait_for(&self, host: &str, status: u16) {
        let start = Instant::now();
        loop {
            let answer = client::try_get(self.address, host, "/who").await;
            match answer {
                Ok(answer) if answer.status == status => return,
                answer => assert!(
                    start.elapsed() < Duration::from_secs(60),
                    "{host} has no status {status}, but {answer:?}\n{}",
                    self.log()
                ),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the log has that text.
    pub(crate) async fn wait_for_log(&self, text: &str) {
        let start = Instant::now();
        while !self.log().contains(text) {
            assert!(start.elapsed() < Duration::from_secs(60), "no {text:?} in\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Asks the router to end.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.router);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// How it ended, once it has.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        loop {
            if let Some(status) = self.router.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.router.kill();
        let _ = self.router.wait();
    }
}
