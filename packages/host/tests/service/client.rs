//! Callers: over TLS with a certificate or without one, and on the local socket.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use lepton_host_api::v1::host_client::HostClient;
use lepton_spiffe::{Bundle, Certificate, Purpose, verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::authority::{Certified, now};
use crate::host::Host;

/// The beginning of HTTP/2 with empty settings (RFC 9113 section 3.4); a server answers with its own.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// A caller.
pub(crate) struct Client(Channel);

impl Client {
    /// It connects with its first call.
    pub(crate) async fn connect(address: SocketAddr, hosts: &Bundle, certified: Option<Certified>) -> Self {
        let config = config(hosts, certified, &rustls::version::TLS13);
        let connector = Tls { address, connector: TlsConnector::from(Arc::new(config)) };
        Self(Endpoint::from_static("http://host").connect_with_connector_lazy(connector))
    }

    pub(crate) async fn local(socket: &Path) -> Self {
        Self(Endpoint::from_static("http://host").connect_with_connector_lazy(Local(socket.to_owned())))
    }

    pub(crate) fn host(&self) -> HostClient<Channel> {
        HostClient::new(self.0.clone()).max_decoding_message_size(4 << 20).max_encoding_message_size(8 << 20)
    }

    /// Calls a method that there is not.
    pub(crate) async fn unknown_method(&self) -> tonic::Status {
        let mut grpc = tonic::client::Grpc::new(self.0.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<
            lepton_host_api::v1::StatusRequest,
            lepton_host_api::v1::StatusResponse,
        >::default();
        let path = http::uri::PathAndQuery::from_static("/lepton.host.v1.Host/Format");
        grpc.unary(tonic::Request::new(lepton_host_api::v1::StatusRequest {}), path, codec).await.unwrap_err()
    }
}

type Soon<T> = Pin<Box<dyn Future<Output = io::Result<TokioIo<T>>> + Send>>;

struct Tls {
    address: SocketAddr,
    connector: TlsConnector,
}

impl Service<Uri> for Tls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Soon<TlsStream<TcpStream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let (address, connector) = (self.address, self.connector.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            // As clients of gRPC do: a small frame does not wait for the acknowledgement of the one before.
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(connector.connect(ServerName::from(address.ip()), stream).await?))
        })
    }
}

struct Local(PathBuf);

impl Service<Uri> for Local {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Soon<UnixStream>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let socket = self.0.clone();
        Box::pin(async move { UnixStream::connect(socket).await.map(TokioIo::new) })
    }
}

fn config(
    hosts: &Bundle,
    certified: Option<Certified>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let verifier = Verifier { hosts: hosts.clone(), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certified {
        None => builder.with_no_client_auth(),
        Some(Certified { certificate, key, .. }) => builder
            .with_client_auth_cert(vec![certificate], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key)))
            .unwrap(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

async fn connect(host: &Host, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(host.address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::from(host.address.ip()), stream).await
}

/// Whether a handshake succeeds; else the alert of the host. In TLS 1.3 a client learns that when it reads.
pub(crate) async fn handshake(host: &Host, certified: Option<Certified>) -> Result<(), String> {
    let mut stream = connect(host, config(&host.hosts, certified, &rustls::version::TLS13))
        .await
        .map_err(|error| alert(&error))?;
    // It may have closed the connection already: then reading says why.
    let _ = stream.write_all(PREFACE).await;
    stream.read_u8().await.map(drop).map_err(|error| alert(&error))
}

pub(crate) async fn handshake_with_tls12(host: &Host, certified: Certified) -> Result<(), String> {
    let config = config(&host.hosts, Some(certified), &rustls::version::TLS12);
    connect(host, config).await.map(drop).map_err(|error| alert(&error))
}

/// The serial number of the host's certificate.
pub(crate) async fn serial(host: &Host, certified: Certified) -> String {
    let stream = connect(host, config(&host.hosts, Some(certified), &rustls::version::TLS13)).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    Certificate::read(&chain[0]).unwrap().serial
}

fn alert(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => format!("{alert:?}"),
        _ => format!("{error:?}"),
    }
}

/// Believes hosts by their bundle, as `lepton` does.
#[derive(Debug)]
struct Verifier {
    hosts: Bundle,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        verify(std::slice::from_ref(end_entity), &self.hosts, Purpose::Server, now())
            .map(|_| ServerCertVerified::assertion())
            .map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 was agreed on".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// What is answered over HTTP/1.1, as scrapers speak it.
pub(crate) async fn get(host: &Host, certified: Certified, path: &str) -> String {
    get_from("127.0.0.1", host, certified, path).await
}

/// The same, asked from that address of the loopback.
pub(crate) async fn get_from(from: &str, host: &Host, certified: Certified, path: &str) -> String {
    let mut config = config(&host.hosts, Some(certified), &rustls::version::TLS13);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    let stream = socket.connect(host.address).await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = connector.connect(ServerName::from(host.address.ip()), stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end may come without a last word of TLS.
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}
