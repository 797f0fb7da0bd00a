//! Fetches a trust bundle that is known by its digest. Whoever sends it cannot change it, so servers need no certificate
//! that anybody trusts.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use ring::digest::{SHA256, digest};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(15);
/// Some hundred certificates.
const LARGEST: usize = 1024 * 1024;

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum FetchError {
    /// The server cannot be reached, or breaks off.
    #[error("cannot fetch the trust bundle from {url}: {why}")]
    Connection {
        /// Where it should be.
        url: String,
        /// Why not.
        why: String,
    },
    /// It is another file.
    #[error("the file at {url} is not the trust bundle: its SHA-256 digest is {digest}")]
    Digest {
        /// Where it is.
        url: String,
        /// The digest that it has.
        digest: String,
    },
}

/// The file at that URL, when it has that digest.
pub(crate) async fn fetch(url: &str, sha256: &str) -> Result<Vec<u8>, FetchError> {
    let failed = |why: String| FetchError::Connection { url: url.to_owned(), why };
    let body = tokio::time::timeout(PATIENCE, get(url)).await;
    let body = body.map_err(|_| failed("it takes too long".to_owned()))?.map_err(failed)?;
    let digest = digest(&SHA256, &body);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    if digest != sha256 {
        return Err(FetchError::Digest { url: url.to_owned(), digest });
    }
    Ok(body)
}

async fn get(url: &str) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let uri: Uri = url.parse().map_err(|error| text(&error))?;
    let is_tls = uri.scheme_str() == Some("https");
    let host = uri.host().ok_or("it has no host")?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((bare, port)).await.map_err(|error| text(&error))?;
    if !is_tls {
        return request(&uri, stream).await;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyServer(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| text(&error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from(bare.to_owned()).map_err(|error| text(&error))?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
    request(&uri, stream.map_err(|error| text(&error))?).await
}

async fn request(
    uri: &Uri,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    // It ends with the last answer.
    tokio::spawn(connection);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let request = Request::get(path).header(HOST, authority).body(Empty::<Bytes>::new());
    let response = sender.send_request(request.map_err(|error| text(&error))?).await;
    let response = response.map_err(|error| text(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("the server says {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    Ok(body.map_err(|error| text(&error))?.to_bytes().to_vec())
}

/// Believes every certificate: the digest says whether the file is the right one.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server of one answer; its URL.
    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        format!("http://{address}/bundle.pem?a=b")
    }

    #[tokio::test]
    async fn only_the_right_file() {
        // printf abc | sha256sum
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let ok = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(fetch(&server(ok).await, abc).await.unwrap(), b"abc");
        let other = fetch(&server(ok).await, &"0".repeat(64)).await.unwrap_err();
        assert!(other.to_string().contains(abc), "{other}");
        let gone = fetch(&server("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await, abc).await;
        assert!(gone.unwrap_err().to_string().contains("404"));
        let half = fetch(&server("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc").await, abc).await;
        assert!(half.is_err());
        assert!(fetch("http://127.0.0.1:1/", abc).await.is_err());
    }
}
