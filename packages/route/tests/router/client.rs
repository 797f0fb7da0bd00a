//! Clients.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longer than anything takes, also on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// An answer to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// What a client sends.
pub(crate) type Body = Full<Bytes>;

pub(crate) fn request(host: &str, path: &str) -> Request<Body> {
    Request::builder().uri(path).header("host", host).body(Body::default()).unwrap()
}

async fn whole(response: Response<Incoming>) -> Result<Answer, hyper::Error> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await?.to_bytes().to_vec();
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// A connection that is kept.
pub(crate) struct Client(hyper::client::conn::http1::SendRequest<Body>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address).await?).await
    }

    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<Self> {
        let shaken = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> io::Result<Answer> {
        let exchange = async {
            self.0.ready().await?;
            whole(self.0.send_request(request).await?).await
        };
        let answered = tokio::time::timeout(PATIENCE, exchange).await.map_err(|_| io::ErrorKind::TimedOut)?;
        answered.map_err(io::Error::other)
    }
}

/// A connection of HTTP/2.
#[derive(Clone)]
pub(crate) struct Client2(hyper::client::conn::http2::SendRequest<Body>);

impl Client2 {
    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Answer, hyper::Error> {
        whole(self.0.send_request(request).await?).await
    }
}

/// One request over a connection of its own.
pub(crate) async fn try_get(address: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    Client::connect(address).await?.send(request(host, path)).await
}

pub(crate) async fn get(address: SocketAddr, host: &str, path: &str) -> Answer {
    try_get(address, host, path).await.unwrap()
}

/// Sends bytes as they are, and reads until the other side closes or nothing comes for a while.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut text = Vec::new();
    let mut part = [0; 4096];
    while let Ok(Ok(count)) = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut part)).await {
        if count == 0 {
            text.extend_from_slice(b"<closed>");
            break;
        }
        text.extend_from_slice(&part[..count]);
    }
    String::from_utf8(text).unwrap()
}

/// Reads until the text has come.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), text: &str) -> String {
    let mut all = Vec::new();
    let reading = async {
        while !all.windows(text.len()).any(|window| window == text.as_bytes()) {
            let mut part = [0; 4096];
            let count = stream.read(&mut part).await.unwrap();
            assert_ne!(count, 0, "it was closed after {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&part[..count]);
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("no {text:?}"));
    String::from_utf8(all).unwrap()
}
