//! The HTTP side: accepts connections, finds a token's request, and answers what cannot be upgraded.
//!
//! It knows the names of the protocols and none of their frames. Every answer but the upgrade is a constant text.

use std::convert::Infallible;
use std::io::Cursor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::backend::Backend;
use crate::command::{self, Command};
use crate::port_forward;
use crate::tokens::{self, Tokens, Urls};
use crate::upgrade::{Answer, Call, Protocol, negotiate, refuse};

/// Bytes of a request's head: kubelet passes on the headers of the user's client.
const HEAD_BYTES: usize = 32 * 1024;
/// How long a client may take to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Ports that fit into channels: two for each, numbered in one byte.
const CHANNEL_PORTS: usize = 100;
/// How long accepting rests after an error, which is almost always a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the server cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address is taken, or not one of this host.
    #[error("cannot listen for streaming clients on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// What one client may cost; the default is what Kubernetes uses where it has a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Clients at the same time; more wait to be accepted.
    pub clients: usize,
    /// How long nothing may happen on a connection.
    pub idle: Duration,
    /// How long a SPDY client may take to open the streams of its call.
    pub stream_creation: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { clients: 1000, idle: Duration::from_secs(4 * 3600), stream_creation: Duration::from_secs(30) }
    }
}

/// A listening server.
#[derive(Debug)]
pub struct Server<B> {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared<B>>,
}

#[derive(Debug)]
struct Shared<B> {
    backend: Arc<B>,
    limits: Limits,
    tokens: Arc<Tokens>,
    clients: Arc<Semaphore>,
}

impl<B: Backend> Server<B> {
    /// Listens; kubelet on the same host connects, so `address` is one of loopback unless an operator says otherwise.
    pub async fn bind(address: SocketAddr, backend: Arc<B>, limits: Limits) -> Result<Self, ServerError> {
        let error = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let clients = Arc::new(Semaphore::new(limits.clients));
        let shared = Shared { backend, limits, tokens: Arc::default(), clients };
        Ok(Self { listener, address, shared: Arc::new(shared) })
    }

    /// What makes addresses of this server.
    pub fn urls(&self) -> Urls {
        Urls::new(self.address, Arc::clone(&self.shared.tokens))
    }

    /// Serves until it is dropped, and every client with it.
    pub async fn run(self) -> Infallible {
        let mut connections = JoinSet::new();
        loop {
            let permit = Arc::clone(&self.shared.clients).acquire_owned().await.expect("it is never closed");
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                // Ended ones are taken out while nobody connects.
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = stream else {
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let shared = Arc::clone(&self.shared);
            connections.spawn(async move {
                serve(stream, shared).await;
                drop(permit);
            });
        }
    }
}

/// What follows an upgrade.
struct Session {
    upgrade: OnUpgrade,
    request: tokens::Request,
    protocol: Protocol,
}

/// One connection: one request, and the session when it is upgraded.
async fn serve<B: Backend>(stream: TcpStream, shared: Arc<Shared<B>>) {
    // Keystrokes and their echo are single bytes; without it they wait for the peer's acknowledgement.
    let _ = stream.set_nodelay(true);
    let session = Mutex::new(None);
    let service = service_fn(|request| {
        let answer = respond(request, &shared.tokens).map_or_else(
            |answer| *answer,
            |(next, answer)| {
                *session.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
                answer
            },
        );
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    // An error is a client that left or sent no HTTP; it was answered if that was possible.
    let _ = connection.await;
    let session = session.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some(session) = session {
        session.run(&shared).await;
    }
}

fn respond(mut request: Request<Incoming>, tokens: &Tokens) -> Result<(Session, Answer), Box<Answer>> {
    if request.method() != Method::GET && request.method() != Method::POST {
        return Err(refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and POST are answered"));
    }
    let Some(waiting) = find(request.uri().path(), tokens) else {
        let text = "no request waits for this token: it was used, or is older than a minute, or never was";
        return Err(refuse(StatusCode::NOT_FOUND, text));
    };
    let call = match waiting {
        tokens::Request::PortForward(_) => Call::PortForward,
        tokens::Request::Exec(_) | tokens::Request::Attach(_) => Call::Command,
    };
    let (protocol, answer) = negotiate(call, request.method(), request.headers())?;
    if let (tokens::Request::PortForward(request), Protocol::Channels { .. }) = (&waiting, protocol)
        && !(1..=CHANNEL_PORTS).contains(&request.ports.len())
    {
        return Err(refuse(StatusCode::BAD_REQUEST, "channels are for requests that name 1 to 100 ports"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    Ok((Session { upgrade, request: waiting, protocol }, answer))
}

/// The request that a path names; the token is used up by this.
fn find(path: &str, tokens: &Tokens) -> Option<tokens::Request> {
    let (call, token) = path.strip_prefix('/')?.split_once('/')?;
    let request = tokens.take(token)?;
    let fits = match request {
        tokens::Request::Exec(_) => call == "exec",
        tokens::Request::Attach(_) => call == "attach",
        tokens::Request::PortForward(_) => call == "portforward",
    };
    fits.then_some(request)
}

impl Session {
    async fn run<B: Backend>(self, shared: &Shared<B>) {
        // The client left before it had the answer.
        let Ok(upgraded) = self.upgrade.await else { return };
        let parts = upgraded.downcast::<TokioIo<TcpStream>>().expect("the server gave it such a stream");
        let (reader, writer) = parts.io.into_inner().into_split();
        // The client may have sent its first frames together with the request.
        let reader = Cursor::new(parts.read_buf).chain(reader);
        let (io, backend, limits) = ((reader, writer), Arc::clone(&shared.backend), shared.limits);
        let command = match self.request {
            tokens::Request::Exec(request) => Command::Exec(request),
            tokens::Request::Attach(request) => Command::Attach(request),
            tokens::Request::PortForward(request) => {
                return match self.protocol {
                    Protocol::Spdy { .. } => port_forward::over_spdy(request, backend, io, limits).await,
                    Protocol::Tunnel => port_forward::over_tunnel(request, backend, io, limits).await,
                    Protocol::Channels { codec, .. } => {
                        port_forward::over_channels(request, backend, io, codec, limits).await;
                    }
                };
            }
        };
        match self.protocol {
            Protocol::Spdy { status, resizes } => {
                command::over_spdy(command, backend, io, (status, resizes), limits).await;
            }
            Protocol::Channels { status, codec } => {
                command::over_channels(command, backend, io, (status, codec), limits).await;
            }
            Protocol::Tunnel => unreachable!("it is not offered for commands"),
        }
    }
}
