//! Connections: TCP, through a proxy when one leads there, with TLS when the address says so. One that an answer was read
//! from to its end is used again within the same pull.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::RegistryError;
use super::tls::{Tls, Trust};
use super::url::{Origin, Proxy, Url, proxy};
use crate::config::{Limits, Proxies};

/// Bytes that one connection keeps in memory.
const BUFFER: usize = 64 << 10;
/// Idle connections to one server.
const MOST_IDLE: usize = 4;
/// The head of a proxy's answer.
const LONGEST_HEAD: usize = 8 << 10;

/// Anything that bytes go through both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What connections need to know.
pub(crate) struct Network<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) proxies: &'a Proxies,
    pub(crate) tls: &'a Tls,
    /// How servers that the settings name are verified.
    pub(crate) trusts: &'a BTreeMap<Origin, Trust>,
}

/// Connections that wait for the next request.
#[derive(Clone, Default)]
pub(crate) struct Pool(Arc<Mutex<Waiting>>);

type Waiting = BTreeMap<Origin, Vec<SendRequest<Full<Bytes>>>>;

/// The head of an answer, and the body on its way.
pub(crate) struct Answer {
    pub(crate) head: http::response::Parts,
    /// Who answered, after all redirects.
    pub(crate) url: Url,
    body: Option<Incoming>,
    connection: Option<(Pool, SendRequest<Full<Bytes>>)>,
    idle: Duration,
}

impl Network<'_> {
    /// Sends a request, and waits for the head of its answer. A redirect is an answer like any other here.
    pub(crate) async fn send(
        &self,
        pool: &Pool,
        url: &Url,
        mut request: http::request::Builder,
        body: &Bytes,
    ) -> Result<Answer, RegistryError> {
        let place = || url.origin.authority();
        let proxy = proxy(self.proxies, &url.origin).map_err(|why| RegistryError::Setting { why })?;
        request = request.header(http::header::HOST, url.origin.authority());
        // A proxy for plain HTTP wants the whole address.
        let target = match &proxy {
            Some(proxy) if !url.origin.is_tls => {
                if let Some(authorization) = &proxy.authorization {
                    request = request.header(http::header::PROXY_AUTHORIZATION, authorization);
                }
                format!("http://{}{}", url.origin.authority(), url.path)
            }
            _ => url.path.clone(),
        };
        let request: Request<Full<Bytes>> = request
            .uri(target)
            .body(Full::new(body.clone()))
            .map_err(|error| RegistryError::Setting { why: error.to_string() })?;
        let failed = |source| RegistryError::Protocol { host: place(), source };
        let late =
            |what: &'static str, after: Duration| RegistryError::Timeout { what, host: place(), after };
        let mut connection = match pool.idle(&url.origin).await {
            Some(connection) => connection,
            None => {
                let opened =
                    tokio::time::timeout(self.limits.connect, self.open(&url.origin, proxy.as_ref()));
                let stream = opened.await.map_err(|_| late("connect to", self.limits.connect))??;
                let mut builder = http1::Builder::new();
                builder.max_buf_size(BUFFER);
                let (connection, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(failed)?;
                // It ends with the connection, whose errors the request gets as well.
                tokio::spawn(async move { drop(driver.await) });
                connection
            }
        };
        let answer = tokio::time::timeout(self.limits.answer, connection.send_request(request)).await;
        let answer: Response<Incoming> =
            answer.map_err(|_| late("get an answer from", self.limits.answer))?.map_err(failed)?;
        let (head, body) = answer.into_parts();
        let connection = Some((pool.clone(), connection));
        Ok(Answer { head, url: url.clone(), body: Some(body), connection, idle: self.limits.idle })
    }

    async fn open(&self, origin: &Origin, proxy: Option<&Proxy>) -> Result<Box<dyn Stream>, RegistryError> {
        let next = proxy.map_or(origin, |proxy| &proxy.origin);
        let failed = |source| RegistryError::Connect { host: next.with_port(), source };
        let mut stream = TcpStream::connect((next.host.as_str(), next.port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        if !origin.is_tls {
            return Ok(Box::new(stream));
        }
        if let Some(proxy) = proxy {
            tunnel(&mut stream, origin, proxy).await?;
        }
        let trust = self.trusts.get(origin).unwrap_or(&Trust::Common);
        let configuration = self.tls.configuration(trust)?;
        let failed = |source| RegistryError::Tls { host: origin.with_port(), source };
        let name = ServerName::try_from(origin.host.clone())
            .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        let connector = tokio_rustls::TlsConnector::from(configuration);
        Ok(Box::new(connector.connect(name, stream).await.map_err(failed)?))
    }
}

/// Asks a proxy for a way to a server.
async fn tunnel(stream: &mut TcpStream, origin: &Origin, proxy: &Proxy) -> Result<(), RegistryError> {
    let host = proxy.origin.with_port();
    let failed = |source| RegistryError::Connect { host: host.clone(), source };
    let target = origin.with_port();
    let authorization = proxy
        .authorization
        .as_ref()
        .map(|value| format!("Proxy-Authorization: {value}\r\n"))
        .unwrap_or_default();
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut head = Vec::new();
    // Byte by byte: what follows the head belongs to TLS.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= LONGEST_HEAD {
            return Err(RegistryError::Proxy { host, why: "its answer has no end".into() });
        }
        head.push(stream.read_u8().await.map_err(failed)?);
    }
    let line =
        String::from_utf8_lossy(head.split(|byte| *byte == b'\r').next().unwrap_or_default()).into_owned();
    match line.split(' ').nth(1) {
        Some(status) if status.len() == 3 && status.starts_with('2') => Ok(()),
        _ => Err(RegistryError::Proxy {
            host,
            why: format!("it does not connect to {target}: {}", crate::digest::shortened(&line)),
        }),
    }
}

impl Pool {
    /// A connection that still works.
    async fn idle(&self, origin: &Origin) -> Option<SendRequest<Full<Bytes>>> {
        loop {
            let mut connection = self.take(origin)?;
            // A body that was just read to its end needs a moment; a connection that was closed fails.
            let ready = tokio::time::timeout(Duration::from_millis(100), connection.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                return Some(connection);
            }
        }
    }

    fn take(&self, origin: &Origin) -> Option<SendRequest<Full<Bytes>>> {
        self.0.lock().expect("nothing panics while it holds the lock").get_mut(origin)?.pop()
    }

    fn put(&self, origin: &Origin, connection: SendRequest<Full<Bytes>>) {
        let mut waiting = self.0.lock().expect("nothing panics while it holds the lock");
        let waiting = waiting.entry(origin.clone()).or_default();
        if waiting.len() < MOST_IDLE && !connection.is_closed() {
            waiting.push(connection);
        }
    }
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The next piece of the body; none at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, RegistryError> {
        use http_body_util::BodyExt as _;
        let Some(body) = &mut self.body else { return Ok(None) };
        loop {
            let host = || self.url.origin.authority();
            let frame = tokio::time::timeout(self.idle, body.frame()).await;
            let frame = frame.map_err(|_| RegistryError::Timeout {
                what: "get the next bytes from",
                host: host(),
                after: self.idle,
            })?;
            match frame {
                Some(frame) => {
                    let frame = frame.map_err(|source| RegistryError::Protocol { host: host(), source })?;
                    if let Ok(bytes) = frame.into_data()
                        && !bytes.is_empty()
                    {
                        return Ok(Some(bytes));
                    }
                }
                None => {
                    self.body = None;
                    if let Some((pool, connection)) = self.connection.take() {
                        pool.put(&self.url.origin, connection);
                    }
                    return Ok(None);
                }
            }
        }
    }

    /// The whole body, if it is not larger than a limit.
    pub(crate) async fn whole(&mut self, limit: u64) -> Result<Vec<u8>, RegistryError> {
        let mut all = Vec::new();
        while let Some(bytes) = self.piece().await? {
            if (all.len() + bytes.len()) as u64 > limit {
                return Err(RegistryError::TooLong { host: self.url.origin.authority(), limit });
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all)
    }
}
