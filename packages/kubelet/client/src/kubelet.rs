//! Asks kubelet of this host for its pods, over one connection that is kept.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, HOST};
use http::{Request, StatusCode};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::tls::{self, TlsError};

/// Kubelet answers in milliseconds, or it is busy starting.
const PATIENCE: Duration = Duration::from_secs(5);
/// A list of some thousand pods; more is no list.
const LIST_MAX: usize = 64 << 20;

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KubeletError {
    /// Files.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// It is not there.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where it should be.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// What is there speaks in another way.
    #[error("cannot ask for pods")]
    Http(#[from] hyper::Error),
    /// It does not want to say.
    #[error("it answers {0} to GET /pods: does it know the client certificate?")]
    Status(StatusCode),
    /// It takes too long.
    #[error("no answer for {} s", PATIENCE.as_secs())]
    TimedOut,
    /// It is too much.
    #[error("its list of pods is larger than {LIST_MAX} bytes")]
    TooLarge,
}

/// Kubelet, and the connection to it.
#[derive(Debug)]
pub struct Kubelet {
    address: SocketAddr,
    client: PathBuf,
    ca: PathBuf,
    link: Option<Link>,
}

#[derive(Debug)]
struct Link {
    sender: http1::SendRequest<Nothing>,
    /// The files that it was made with.
    stamps: [Option<(SystemTime, u64)>; 2],
}

/// A list of pods.
#[derive(Debug)]
pub struct List {
    /// JSON.
    pub bytes: Vec<u8>,
    /// Whether the connection that was kept had been closed by kubelet: it may be another process now.
    pub was_cut: bool,
}

impl Kubelet {
    /// Kubelet at that address; certificates are `client.pem` and `ca.pem` in the folder.
    pub fn new(address: SocketAddr, folder: &Path) -> Self {
        Self { address, client: folder.join("client.pem"), ca: folder.join("ca.pem"), link: None }
    }

    /// Whether the certificates that it takes are there.
    pub fn is_known(&self) -> bool {
        self.client.exists() && self.ca.exists()
    }

    /// Its pods.
    pub async fn pods(&mut self) -> Result<List, KubeletError> {
        let listed = tokio::time::timeout(PATIENCE, self.ask()).await.map_err(|_| KubeletError::TimedOut);
        if !matches!(listed, Ok(Ok(_))) {
            self.link = None;
        }
        listed?
    }

    async fn ask(&mut self) -> Result<List, KubeletError> {
        let stamps = [stamp(&self.client), stamp(&self.ca)];
        let mut was_cut = false;
        if let Some(mut link) = self.link.take().filter(|link| link.stamps == stamps) {
            match self.get(&mut link.sender).await {
                Ok(bytes) => {
                    self.link = Some(link);
                    return Ok(List { bytes, was_cut });
                }
                Err(KubeletError::Http(_)) => was_cut = true,
                Err(other) => return Err(other),
            }
        }
        let mut link = Link { sender: self.connect().await?, stamps };
        let bytes = self.get(&mut link.sender).await?;
        self.link = Some(link);
        Ok(List { bytes, was_cut })
    }

    async fn connect(&self) -> Result<http1::SendRequest<Nothing>, KubeletError> {
        let config = tls::client(&self.client, &self.ca)?;
        let or_connect = |source| KubeletError::Connect { address: self.address, source };
        let stream = TcpStream::connect(self.address).await.map_err(or_connect)?;
        stream.set_nodelay(true).map_err(or_connect)?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(or_connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn get(&self, sender: &mut http1::SendRequest<Nothing>) -> Result<Vec<u8>, KubeletError> {
        sender.ready().await?;
        let mut request = Request::new(Nothing);
        *request.uri_mut() = http::Uri::from_static("/pods");
        if let Ok(host) = http::HeaderValue::try_from(self.address.to_string()) {
            request.headers_mut().insert(HOST, host);
        }
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static("application/json"));
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(KubeletError::Status(response.status()));
        }
        collect(response.into_body()).await
    }
}

/// Which file it is.
fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino()))
}

async fn collect(mut body: Incoming) -> Result<Vec<u8>, KubeletError> {
    let length = body.size_hint().exact().and_then(|length| usize::try_from(length).ok());
    let mut bytes = Vec::with_capacity(length.unwrap_or(0).min(LIST_MAX));
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            if bytes.len() + data.len() > LIST_MAX {
                return Err(KubeletError::TooLarge);
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

/// No body.
#[derive(Debug)]
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::convert::Infallible>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}
