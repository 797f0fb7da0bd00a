//! Hosts that are none: TLS as a host has it, and answers that are made up. Each is a thread of the test.

mod answers;
mod host;
pub(crate) mod wire;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{SystemTime, UNIX_EPOCH};

use lepton_host_api::roles::Role;
use lepton_host_api::v1::host_server::HostServer;
use lepton_keys::{Folder, Lifetime};
use lepton_spiffe::Certificate;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codegen::tokio_stream::Stream;
use tonic::transport::Server;
use tonic::transport::server::Connected;

use host::Fake;

pub(crate) const DOMAIN: &str = "lab.example.org";

/// A trust domain, and a folder to work in.
pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) keys: Folder,
}

impl World {
    /// With certificates of all roles, made now.
    pub(crate) fn new() -> Self {
        let world = Self::empty();
        let keys = Folder::create(world.keys.path(), &DOMAIN.parse().unwrap(), now()).unwrap();
        for role in Role::ALL {
            keys.issue(role, Lifetime::PERSON, now(), &keys).unwrap();
        }
        world
    }

    /// Whose trust domain is still to be made.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys = Folder::at(dir.path().join("lab"));
        Self { dir, keys }
    }

    /// Starts a host that has a certificate of that ID; gives its address.
    pub(crate) fn host(&self, name: &str, id: &str) -> SocketAddr {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (config, fake) = (self.server_config(id), Fake::new(name));
        serve(fake, async move || {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            let acceptor = TlsAcceptor::from(Arc::new(config));
            let (accepted, connections) = mpsc::channel(8);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                    tokio::spawn(async move {
                        // A client that is not believed is told so by TLS.
                        if let Ok(stream) = acceptor.accept(stream).await {
                            let _ = accepted.send(Ok::<_, std::io::Error>(Tls(stream))).await;
                        }
                    });
                }
            });
            Incoming(connections)
        });
        receiver.recv().unwrap()
    }

    /// Starts a host on a socket in the folder; gives its path.
    pub(crate) fn local_host(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(format!("{name}.sock"));
        let (sender, receiver) = std::sync::mpsc::channel();
        let bound = path.clone();
        serve(Fake::new(name), async move || {
            let listener = UnixListener::bind(bound).unwrap();
            sender.send(()).unwrap();
            let (accepted, connections) = mpsc::channel(8);
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let _ = accepted.send(Ok::<_, std::io::Error>(stream)).await;
                }
            });
            Incoming(connections)
        });
        receiver.recv().unwrap();
        path
    }

    /// TLS of a host, from the part of a machine config that `keys new` has made.
    fn server_config(&self, id: &str) -> ServerConfig {
        let text = std::fs::read_to_string(self.keys.fragment_path()).unwrap();
        let config: toml::Table = text.parse().unwrap();
        let authority = &config["identity"]["authority"];
        let pem = |value: &toml::Value| value.as_str().unwrap().to_owned();
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem(&authority["certificate"]).as_bytes())
            .map(Result::unwrap)
            .collect();
        let signer = KeyPair::from_pem(&pem(&authority["key"])).unwrap();
        let issuer = Issuer::from_ca_cert_der(&chain[0], signer).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = time::OffsetDateTime::from_unix_timestamp(now() - 60).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(now() + 3600).unwrap();
        let pair = KeyPair::generate().unwrap();
        let own = params.signed_by(&pair, &issuer).unwrap().der().clone();

        let operators = pem(&config["host"]["trust-bundle"]);
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(operators.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own, chain[0].clone()], PrivateKeyDer::Pkcs8(pair.serialize_der().into()))
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// The program in this folder, with nothing of the user's.
    #[expect(clippy::disallowed_methods, reason = "the program is what is tested")]
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lepton-remote"));
        command
            .args(words)
            .current_dir(self.dir.path())
            .env_clear()
            .env("XDG_CONFIG_HOME", self.dir.path().join("config"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        Ran::of(&self.command(words).output().unwrap())
    }

    /// Runs the program with the certificate of a role, against hosts.
    pub(crate) fn ask(&self, role: Role, hosts: &str, words: &[&str]) -> Ran {
        let keys = self.keys.path().display().to_string();
        let before = ["--keys", &keys, "--role", role.name(), "-n", hosts];
        self.run(&[&before[..], words].concat())
    }
}

/// What the program has said, and how it has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "certificates are of a time")]
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn serve<IO, F>(fake: Fake, listen: F)
where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    F: AsyncFnOnce() -> Incoming<IO> + Send + 'static,
{
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let incoming = listen().await;
            Server::builder().serve_with_incoming(HostServer::new(fake), incoming).await.unwrap();
        });
    });
}

/// Connections as they come.
struct Incoming<IO>(mpsc::Receiver<std::io::Result<IO>>);

impl<IO> Stream for Incoming<IO> {
    type Item = std::io::Result<IO>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context)
    }
}

/// A connection that knows the role of its caller.
struct Tls(TlsStream<TcpStream>);

/// The role of a caller; none on a local socket.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) id: String,
    pub(crate) role: Option<Role>,
}

impl Connected for Tls {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        let certificate = self.0.get_ref().1.peer_certificates().unwrap()[0].clone();
        let id = Certificate::read(&certificate).unwrap().leaf_id().unwrap();
        Caller { role: Role::of_path(id.path()), id: id.to_string() }
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
