//! One connection: bytes of a process, as long as the process lives.

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;
use tokio::time::{Sleep, sleep};
use tonic::transport::server::Connected;

use crate::peer::Peer;
use crate::slots::Slot;

/// The beginning of HTTP/2 (RFC 9113 section 3.4): the preface and the head of a frame.
const OPENING: usize = 24 + 9;
/// Who takes longer for that is no client.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection that has a place.
pub(crate) struct Connection {
    stream: UnixStream,
    caller: Caller,
    _slot: Slot,
    ended: Pin<Box<dyn Future<Output = ()> + Send>>,
    opening: Option<Opening>,
}

/// What calls know of their connection.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) peer: Arc<Peer>,
    /// Turns of the owner's calls.
    pub(crate) turns: Arc<Semaphore>,
}

struct Opening {
    end: Pin<Box<Sleep>>,
    missing: usize,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl Connection {
    pub(crate) fn new(stream: UnixStream, peer: Peer, slot: Slot) -> Self {
        let peer = Arc::new(peer);
        let caller = Caller { peer: Arc::clone(&peer), turns: Arc::clone(&slot.calls) };
        let ended = Box::pin(async move { peer.ended().await });
        let opening = Some(Opening { end: Box::pin(sleep(PATIENCE)), missing: OPENING });
        Self { stream, caller, _slot: slot, ended, opening }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // Others may hold the socket, too: with the process everything ends.
        if this.ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        }
        if let Some(opening) = &mut this.opening
            && opening.end.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if let Some(opening) = &mut this.opening {
            opening.missing = opening.missing.saturating_sub(buffer.filled().len() - before);
            if opening.missing == 0 {
                this.opening = None;
            }
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
