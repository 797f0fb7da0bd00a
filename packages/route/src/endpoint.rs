//! One instance: its connections that wait for the next request, and whether it took the last one.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::pods::{Instance, Protocol};
use crate::upload::Upload;

/// A host on the same machine that has not taken a connection by then takes none.
const CONNECT: Duration = Duration::from_secs(2);
/// Connections that wait for a request.
const IDLE_MAX: usize = 64;
/// How long they wait. The shortest that servers of applications close theirs after is about five seconds.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// How old a waiting connection may be for a request that cannot be repeated, should the server have closed it just now.
const YOUNG: Duration = Duration::from_secs(1);
/// How long an instance is left alone after it refused a connection, then twice as long each time.
const BACK_OFF: Duration = Duration::from_millis(250);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// What a response's head may be in bytes; also what is read ahead of a body.
const HEAD_MAX: usize = 64 << 10;

/// An instance that takes requests.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Of its pod.
    pub(crate) uid: String,
    /// `NAMESPACE/NAME` of its pod.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    protocol: Protocol,
    idle: Mutex<Vec<Idle>>,
    shared: Mutex<Option<http2::SendRequest<Upload>>>,
    is_retired: AtomicBool,
    failures: AtomicU32,
    alone_until: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Upload>,
    since: Instant,
}

/// A connection that takes a request.
#[derive(Debug)]
pub(crate) enum Sender {
    /// HTTP/1.1, for one request at a time.
    Http1(http1::SendRequest<Upload>),
    /// HTTP/2.
    Http2(http2::SendRequest<Upload>),
}

/// Which connection will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Any: the request can be repeated.
    Any,
    /// One that was used a moment ago, or a new one.
    Young,
    /// A new one.
    Fresh,
    /// A new one of HTTP/1.1, for a change of protocol.
    Upgrade,
}

impl Endpoint {
    /// Without connections.
    pub(crate) fn new(instance: Instance) -> Self {
        Self {
            uid: instance.uid,
            name: instance.name,
            address: instance.address,
            protocol: instance.protocol,
            idle: Mutex::default(),
            shared: Mutex::default(),
            is_retired: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            alone_until: Mutex::default(),
        }
    }

    /// Whether it is this instance, unchanged.
    pub(crate) fn is_at(&self, instance: &Instance) -> bool {
        (self.address, self.protocol) == (instance.address, instance.protocol)
    }

    /// A connection, and whether it was used before.
    pub(crate) async fn connection(&self, wish: Wish) -> io::Result<(Sender, bool)> {
        let may_wait = matches!(wish, Wish::Any | Wish::Young);
        if may_wait && let Some(sender) = self.waiting(wish).await {
            return Ok((sender, true));
        }
        let connecting = tokio::time::timeout(CONNECT, TcpStream::connect(self.address));
        let stream = connecting.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        stream.set_nodelay(true)?;
        let stream = TokioIo::new(stream);
        if self.protocol == Protocol::H2c && wish != Wish::Upgrade {
            let handshake = http2::Builder::new(TokioExecutor::new()).handshake(stream).await;
            let (sender, connection) = handshake.map_err(io::Error::other)?;
            tokio::spawn(connection);
            if !self.is_retired() {
                *lock(&self.shared) = Some(sender.clone());
            }
            return Ok((Sender::Http2(sender), false));
        }
        let handshake = http1::Builder::new().max_buf_size(HEAD_MAX).handshake(stream).await;
        let (sender, connection) = handshake.map_err(io::Error::other)?;
        // What goes wrong on it, those hear who wait for a response.
        tokio::spawn(connection.with_upgrades());
        Ok((Sender::Http1(sender), false))
    }

    async fn waiting(&self, wish: Wish) -> Option<Sender> {
        if self.protocol == Protocol::H2c {
            let mut shared = lock(&self.shared);
            if shared.as_ref().is_some_and(http2::SendRequest::is_closed) {
                *shared = None;
            }
            return shared.clone().map(Sender::Http2);
        }
        let oldest = if wish == Wish::Young { YOUNG } else { IDLE_FOR };
        loop {
            let mut idle = lock(&self.idle).pop()?;
            // The newest comes first: behind one that is too old there is none.
            if idle.since.elapsed() > oldest {
                if wish == Wish::Young && !idle.sender.is_closed() {
                    lock(&self.idle).push(idle);
                }
                return None;
            }
            // It says so once it has noticed the end of the last response.
            if idle.sender.ready().await.is_ok() {
                return Some(Sender::Http1(idle.sender));
            }
        }
    }

    /// Keeps a connection whose request and response have ended.
    pub(crate) fn keep(&self, sender: Sender) {
        let Sender::Http1(sender) = sender else { return };
        let mut idle = lock(&self.idle);
        if !sender.is_closed() && idle.len() < IDLE_MAX && !self.is_retired() {
            idle.push(Idle { sender, since: Instant::now() });
        }
    }

    /// Closes connections that have waited long enough.
    pub(crate) fn sweep(&self) {
        lock(&self.idle).retain(|idle| idle.since.elapsed() < IDLE_FOR && !idle.sender.is_closed());
    }

    /// It gets no more requests; those under way end as they do.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Ordering::SeqCst);
        lock(&self.idle).clear();
        *lock(&self.shared) = None;
    }

    /// Whether it gets no more requests.
    pub(crate) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::SeqCst)
    }

    /// It refused a connection.
    pub(crate) fn has_failed(&self, now: Instant) {
        let before = self.failures.fetch_add(1, Ordering::Relaxed).min(16);
        *lock(&self.alone_until) = Some(now + (BACK_OFF * (1 << before)).min(BACK_OFF_MAX));
    }

    /// It took a connection.
    pub(crate) fn has_answered(&self) {
        if self.failures.swap(0, Ordering::Relaxed) > 0 {
            *lock(&self.alone_until) = None;
        }
    }

    /// Whether it is to be left alone no more.
    pub(crate) fn is_well(&self, now: Instant) -> bool {
        self.failures.load(Ordering::Relaxed) == 0 || lock(&self.alone_until).is_none_or(|until| until <= now)
    }
}

/// What is behind these locks is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_ends() {
        let instance = Instance {
            uid: "u".to_owned(),
            name: "n/a".to_owned(),
            hosts: Vec::new(),
            address: ([127, 0, 0, 1], 1).into(),
            protocol: Protocol::Http1,
        };
        let (endpoint, now) = (Endpoint::new(instance), Instant::now());
        assert!(endpoint.is_well(now));
        for wait in [250, 500, 1000, 2000, 4000, 5000, 5000] {
            endpoint.has_failed(now);
            assert!(!endpoint.is_well(now + Duration::from_millis(wait - 1)));
            assert!(endpoint.is_well(now + Duration::from_millis(wait)), "{wait}");
        }
        endpoint.has_answered();
        assert!(endpoint.is_well(now));
    }
}
