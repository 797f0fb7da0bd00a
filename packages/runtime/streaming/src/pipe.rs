//! A bounded pipe of bytes, from the task that reads a connection to whoever reads one of its streams.
//!
//! It knows no protocol. The sender waits while the pipe is full, so a slow reader slows the connection, and never more
//! than [`CAPACITY`] bytes are held.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::Notify;

/// Bytes that a pipe holds before its sender waits; also the window that SPDY gives to a stream at first.
pub(crate) const CAPACITY: usize = 64 * 1024;
/// Bytes that a reader takes before the peer is told: half a window, so that the peer need not wait for it.
pub(crate) const CREDIT: usize = CAPACITY / 2;

/// Makes a pipe; what its reader takes is added to `ledger`.
pub(crate) fn pipe(ledger: Option<Arc<Ledger>>) -> (Sender, Reader) {
    let state = Arc::new(Mutex::new(State::default()));
    (Sender { state: Arc::clone(&state), ledger: ledger.clone() }, Reader { state, ledger })
}

/// How a pipe ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// All bytes have come.
    Eof,
    /// The peer reset the stream, or the connection was lost.
    Reset,
}

/// What the readers of one connection have taken together, for a protocol that tells its peer.
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Bytes taken and not told.
    total: AtomicUsize,
    /// Whether some stream's reader has taken [`CREDIT`] bytes.
    due: AtomicBool,
    /// Notified when either is worth telling.
    notify: Arc<Notify>,
}

impl Ledger {
    pub(crate) fn new(notify: Arc<Notify>) -> Self {
        Self { total: AtomicUsize::new(0), due: AtomicBool::new(false), notify }
    }

    /// Bytes that were taken, when they are worth telling.
    pub(crate) fn take_total(&self) -> Option<usize> {
        (self.total.load(Ordering::Relaxed) >= CREDIT).then(|| self.total.swap(0, Ordering::Relaxed))
    }

    /// Whether some pipe has credit to give, once.
    pub(crate) fn take_due(&self) -> bool {
        self.due.swap(false, Ordering::AcqRel)
    }

    /// Counts bytes that were taken or discarded.
    pub(crate) fn add(&self, count: usize) {
        if self.total.fetch_add(count, Ordering::Relaxed) + count >= CREDIT {
            self.notify.notify_one();
        }
    }

    fn stream_due(&self) {
        self.due.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    end: Option<End>,
    reader_gone: bool,
    /// Bytes taken by the reader and not yet given back to the peer's window.
    taken: usize,
    reader: Option<Waker>,
    sender: Option<Waker>,
}

/// The connection's end.
#[derive(Debug)]
pub(crate) struct Sender {
    state: Arc<Mutex<State>>,
    ledger: Option<Arc<Ledger>>,
}

/// The reader's end; dropping it discards what comes.
#[derive(Debug)]
pub(crate) struct Reader {
    state: Arc<Mutex<State>>,
    ledger: Option<Arc<Ledger>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Nothing panics between two changes that belong together.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Counts bytes that the reader took, or that nobody will take.
fn taken(state: &mut State, ledger: Option<&Arc<Ledger>>, count: usize) {
    state.taken += count;
    if let Some(ledger) = ledger {
        ledger.add(count);
        if state.taken >= CREDIT {
            ledger.stream_due();
        }
    }
}

impl Sender {
    /// Adds bytes, waiting whenever the pipe is full.
    pub(crate) async fn push(&self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let count = poll_fn(|context| self.poll_push(context, bytes)).await;
            bytes = &bytes[count..];
        }
    }

    fn poll_push(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<usize> {
        let mut state = lock(&self.state);
        if state.reader_gone || state.end.is_some() {
            taken(&mut state, self.ledger.as_ref(), bytes.len());
            return Poll::Ready(bytes.len());
        }
        let count = bytes.len().min(CAPACITY - state.bytes.len());
        if count == 0 {
            state.sender = Some(context.waker().clone());
            return Poll::Pending;
        }
        state.bytes.extend(&bytes[..count]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(count)
    }

    /// Ends the pipe; what is in it can still be read. Only the first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut state = lock(&self.state);
        state.end.get_or_insert(end);
        let wakers = [state.reader.take(), state.sender.take()];
        drop(state);
        wakers.into_iter().for_each(wake);
    }

    /// Bytes that the reader has taken since the last call, when they are worth telling.
    pub(crate) fn take_credit(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        (state.taken >= CREDIT).then(|| std::mem::take(&mut state.taken))
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.state);
        let count = buffer.remaining().min(state.bytes.len());
        if count > 0 {
            let (front, back) = state.bytes.as_slices();
            let first = count.min(front.len());
            buffer.put_slice(&front[..first]);
            buffer.put_slice(&back[..count - first]);
            state.bytes.drain(..count);
            taken(&mut state, self.ledger.as_ref(), count);
            let sender = state.sender.take();
            drop(state);
            wake(sender);
            return Poll::Ready(Ok(()));
        }
        match state.end {
            _ if buffer.remaining() == 0 => Poll::Ready(Ok(())),
            Some(End::Eof) => Poll::Ready(Ok(())),
            Some(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            None => {
                state.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.reader_gone = true;
        let count = std::mem::take(&mut state.bytes).len();
        taken(&mut state, self.ledger.as_ref(), count);
        let sender = state.sender.take();
        drop(state);
        wake(sender);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    #[tokio::test]
    async fn bytes_pass_in_order_and_end() {
        let (sender, mut reader) = pipe(None);
        sender.push(b"one ").await;
        sender.push(b"two").await;
        sender.end(End::Eof);
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "one two");
    }

    #[tokio::test]
    async fn the_sender_waits_for_a_slow_reader() {
        let (sender, mut reader) = pipe(None);
        let much = vec![7; CAPACITY + 2];
        let mut push = Box::pin(sender.push(&much));
        tokio::select! {
            biased;
            () = &mut push => panic!("the pipe is full"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(lock(&reader.state).bytes.len(), CAPACITY);
        reader.read_exact(&mut [0; 2]).await.unwrap();
        push.await;
    }

    #[tokio::test]
    async fn a_reset_comes_after_the_bytes_before_it() {
        let (sender, mut reader) = pipe(None);
        sender.push(b"x").await;
        sender.end(End::Reset);
        reader.read_exact(&mut [0; 1]).await.unwrap();
        let error = reader.read(&mut [0; 1]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn without_a_reader_bytes_are_discarded_and_credited() {
        let ledger = Arc::new(Ledger::new(Arc::default()));
        let (sender, reader) = pipe(Some(Arc::clone(&ledger)));
        sender.push(&[0; CAPACITY]).await;
        assert_eq!(sender.take_credit(), None);
        drop(reader);
        ledger.notify.notified().await;
        sender.push(&[0; 10]).await;
        assert!(ledger.take_due());
        assert_eq!(sender.take_credit(), Some(CAPACITY + 10));
        assert_eq!(ledger.take_total(), Some(CAPACITY + 10));
        assert_eq!((sender.take_credit(), ledger.take_total()), (None, None));
    }

    #[tokio::test]
    async fn credit_is_told_from_half_a_window_on() {
        let ledger = Arc::new(Ledger::new(Arc::default()));
        let (sender, mut reader) = pipe(Some(Arc::clone(&ledger)));
        sender.push(&[0; CAPACITY]).await;
        reader.read_exact(&mut [0; CREDIT - 1]).await.unwrap();
        assert_eq!((sender.take_credit(), ledger.take_total()), (None, None));
        reader.read_exact(&mut [0; 1]).await.unwrap();
        assert_eq!((sender.take_credit(), ledger.take_total()), (Some(CREDIT), Some(CREDIT)));
    }
}
