//! How long a client's connection may do nothing, or be slow at saying what it wants.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use std::{io, io::IoSlice};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// From a request's first byte to the last one of its head; also from a connection's start to its first head.
const HEAD: u64 = 10_000;
/// A connection without requests.
const IDLE: u64 = 60_000;
/// A request under way, or an upgraded connection, on which no byte moves.
const STALLED: u64 = 15 * 60_000;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Milliseconds of this process.
pub(crate) fn millis() -> u64 {
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// What happens on one connection, in milliseconds of this process.
#[derive(Debug)]
pub(crate) struct Meter {
    under_way: AtomicU32,
    /// When the last byte moved, or the last request ended.
    moved: AtomicU64,
    /// When a head began to come in; 0 when none does.
    head: AtomicU64,
    /// HTTP/2 sends frames without a request: its heads cannot be told from outside.
    is_multiplexed: AtomicBool,
}

impl Meter {
    /// Of a new connection, on which a head must come soon.
    pub(crate) fn new() -> Self {
        let now = millis().max(1);
        Self {
            under_way: AtomicU32::new(0),
            moved: AtomicU64::new(now),
            head: AtomicU64::new(now),
            is_multiplexed: AtomicBool::new(false),
        }
    }

    /// It is HTTP/2.
    pub(crate) fn multiplex(&self) {
        self.is_multiplexed.store(true, Ordering::Relaxed);
    }

    /// A head was read.
    pub(crate) fn request_began(&self) {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.head.store(0, Ordering::Relaxed);
    }

    /// A response was sent, or given up.
    pub(crate) fn request_ended(&self) {
        self.moved.store(millis(), Ordering::Relaxed);
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    fn bytes_moved(&self, is_read: bool) {
        let now = millis().max(1);
        self.moved.store(now, Ordering::Relaxed);
        let may_be_head = is_read
            && self.under_way.load(Ordering::Relaxed) == 0
            && !self.is_multiplexed.load(Ordering::Relaxed);
        if may_be_head && self.head.load(Ordering::Relaxed) == 0 {
            self.head.store(now, Ordering::Relaxed);
        }
    }

    fn deadline(&self) -> u64 {
        let moved = self.moved.load(Ordering::Relaxed);
        if self.under_way.load(Ordering::Relaxed) > 0 {
            return moved + STALLED;
        }
        match self.head.load(Ordering::Relaxed) {
            0 => moved + IDLE,
            head => head + HEAD,
        }
    }

    /// Ends when the connection has used up its time.
    pub(crate) async fn expiry(&self) {
        loop {
            let deadline = self.deadline();
            if millis() >= deadline {
                return;
            }
            // A deadline can come nearer, too, when a request ends: it is looked at again from time to time.
            let next = deadline.min(millis() + HEAD);
            tokio::time::sleep_until(*START + Duration::from_millis(next)).await;
        }
    }
}

/// A stream whose bytes are noticed.
#[derive(Debug)]
pub(crate) struct Metered<S, M> {
    stream: S,
    /// Bytes that were read before by somebody else.
    ahead: Vec<u8>,
    meter: Arc<M>,
}

/// What has a meter.
pub(crate) trait HasMeter {
    /// It.
    fn meter(&self) -> &Meter;
}

impl<S, M: HasMeter> Metered<S, M> {
    /// A stream of which `ahead` was read already.
    pub(crate) fn new(stream: S, ahead: Vec<u8>, meter: Arc<M>) -> Self {
        Self { stream, ahead, meter }
    }
}

impl<S: AsyncRead + Unpin, M: HasMeter> AsyncRead for Metered<S, M> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.ahead.is_empty() {
            let count = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead[..count]);
            self.ahead.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            self.meter.meter().bytes_moved(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin, M: HasMeter> Metered<S, M> {
    fn written(&self, count: usize) -> Poll<io::Result<usize>> {
        self.meter.meter().bytes_moved(false);
        Poll::Ready(Ok(count))
    }
}

impl<S: AsyncWrite + Unpin, M: HasMeter> AsyncWrite for Metered<S, M> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        self.written(count)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let count = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        self.written(count)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines() {
        let meter = Meter::new();
        let left = |meter: &Meter| meter.deadline().saturating_sub(millis());
        // In the first millisecond of the process the clock stands at 1, so that 0 can mean "not at all".
        let about = |left: u64, span: u64| left <= span + 1 && left + 1000 > span;
        assert!(about(left(&meter), HEAD), "a new connection");
        meter.request_began();
        assert!(about(left(&meter), STALLED));
        meter.bytes_moved(true);
        assert!(about(left(&meter), STALLED), "a body is no head");
        meter.request_ended();
        assert!(about(left(&meter), IDLE));
        meter.bytes_moved(false);
        assert!(about(left(&meter), IDLE));
        meter.bytes_moved(true);
        assert!(about(left(&meter), HEAD), "the next head");
        let multiplexed = Meter::new();
        multiplexed.multiplex();
        assert!(about(left(&multiplexed), HEAD), "the first head");
        multiplexed.request_began();
        multiplexed.request_ended();
        multiplexed.bytes_moved(true);
        assert!(about(left(&multiplexed), IDLE), "a frame");
    }
}
