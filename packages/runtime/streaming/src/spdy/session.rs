//! What both directions of a SPDY connection and its streams share: the open streams and the windows.
//!
//! Nothing here waits or does I/O. The lock is held for a few instructions at a time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

use super::frame::{self, FrameError, GoAwayReason, ResetReason};
use super::headers::{HeaderWriter, Headers};
use crate::outbox::{Outbox, Refused};
use crate::pipe::{End, Ledger, Sender};

/// Bytes of a window at first (section 2.6.8), of a stream and of the connection.
const INITIAL_WINDOW: i64 = 64 * 1024;
/// No window grows beyond it.
const WINDOW_LIMIT: i64 = (1 << 31) - 1;
/// Streams that are open at the same time: two for each of 512 forwarded connections.
const STREAM_LIMIT: usize = 1024;
/// Bytes that a client may send on all its streams together; their pipes stop it long before.
pub(super) const SESSION_WINDOW: u32 = 16 * 1024 * 1024;

/// One connection.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) outbox: Arc<Outbox>,
    pub(super) ledger: Arc<Ledger>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    streams: BTreeMap<u32, Stream>,
    /// The newest stream of the client.
    last: u32,
    /// The client said that it opens no more.
    closing: bool,
    headers: HeaderWriter,
    /// Bytes that the client takes on all streams together.
    window: i64,
    /// Bytes that a new stream takes.
    initial_window: i64,
    /// Whether the client has ever spoken of windows. Kubernetes' does not: it would wait forever for the rest of a
    /// stream whose first 64 KiB it has read, and only TCP slows us down.
    windows: bool,
}

#[derive(Debug)]
struct Stream {
    received: Arc<Sender>,
    window: i64,
    /// Who waits for the window.
    waiting: Option<Waker>,
    /// Told when the stream does not end as it should.
    aborted: watch::Sender<bool>,
    /// The client's data has ended.
    remote_done: bool,
    /// Our data has ended.
    local_done: bool,
}

impl Stream {
    fn wake(&mut self) {
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Ends both directions where they are.
    fn abort(mut self) {
        self.received.end(End::Reset);
        self.aborted.send_replace(true);
        self.wake();
    }
}

/// What to do about a SYN_STREAM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opened {
    /// It is open.
    Yes,
    /// It was reset.
    Refused,
}

impl Session {
    pub(super) fn new() -> Self {
        let outbox = Arc::new(Outbox::default());
        let state = State {
            streams: BTreeMap::new(),
            last: 0,
            closing: false,
            headers: HeaderWriter::new(),
            window: INITIAL_WINDOW,
            initial_window: INITIAL_WINDOW,
            windows: false,
        };
        let ledger = Arc::new(Ledger::new(Arc::clone(&outbox.ready)));
        Self { outbox, ledger, state: Mutex::new(state) }
    }

    /// Opens a stream of the client.
    pub(super) fn open(
        &self,
        stream: u32,
        received: Sender,
        aborted: watch::Sender<bool>,
        (remote_done, local_done): (bool, bool),
    ) -> Result<Opened, Refused> {
        let mut state = self.lock();
        let reason = if stream.is_multiple_of(2) || stream <= state.last {
            Some(ResetReason::ProtocolError)
        } else if state.closing || state.streams.len() >= STREAM_LIMIT {
            Some(ResetReason::RefusedStream)
        } else {
            None
        };
        state.last = state.last.max(stream);
        if let Some(reason) = reason {
            self.outbox.push_urgent(frame::rst_stream(stream, reason))?;
            return Ok(Opened::Refused);
        }
        if remote_done {
            received.end(End::Eof);
        }
        let window = state.initial_window;
        let entry =
            Stream { received: Arc::new(received), window, waiting: None, aborted, remote_done, local_done };
        state.streams.insert(stream, entry);
        Ok(Opened::Yes)
    }

    /// Where data of a stream goes. Data for a stream that never was is answered, that for an ended one is not.
    pub(super) fn receiver(&self, stream: u32) -> Result<Option<Arc<Sender>>, Refused> {
        let state = self.lock();
        if let Some(entry) = state.streams.get(&stream) {
            return Ok((!entry.remote_done).then(|| Arc::clone(&entry.received)));
        }
        if stream > state.last || stream.is_multiple_of(2) {
            self.outbox.push_urgent(frame::rst_stream(stream, ResetReason::InvalidStream))?;
        }
        Ok(None)
    }

    /// Accepts a stream.
    pub(super) fn reply(&self, stream: u32) {
        let mut state = self.lock();
        if state.streams.get(&stream).is_some_and(|entry| !entry.local_done) {
            // The block is compressed under the lock: blocks are sent in the order in which they are made.
            let block = state.headers.write(&Headers::default());
            // A client that has left, or is cut off for not reading, needs no reply.
            let _ = self.outbox.push_urgent(frame::syn_reply(stream, &block));
        }
    }

    /// The client has sent its last data on a stream.
    pub(super) fn remote_end(&self, stream: u32) {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else { return };
        entry.received.end(End::Eof);
        entry.remote_done = true;
        if entry.local_done {
            state.streams.remove(&stream);
        }
    }

    /// The client has reset a stream.
    pub(super) fn remote_reset(&self, stream: u32) {
        if let Some(entry) = self.lock().streams.remove(&stream) {
            entry.abort();
        }
    }

    /// We end our data on a stream.
    pub(super) fn local_end(&self, stream: u32) {
        let mut state = self.lock();
        let Some(entry) = state.streams.get_mut(&stream) else { return };
        if entry.local_done {
            return;
        }
        entry.local_done = true;
        if entry.remote_done {
            state.streams.remove(&stream);
        }
        // On a connection that is over, all streams have ended.
        let _ = self.outbox.push_data(frame::data(stream, true, &[]));
    }

    /// We reset a stream, after the data that was written to it.
    pub(super) fn local_reset(&self, stream: u32, reason: ResetReason) {
        let Some(entry) = self.lock().streams.remove(&stream) else { return };
        entry.abort();
        // On a connection that is over, all streams have ended.
        let _ = self.outbox.push_data(frame::rst_stream(stream, reason));
    }

    /// Sends as much of `bytes` as the windows and one frame take; waits while a window is shut.
    pub(super) fn poll_send(
        &self,
        stream: u32,
        bytes: &[u8],
        context: &mut Context<'_>,
    ) -> Poll<Option<usize>> {
        let mut state = self.lock();
        let session = if state.windows { state.window } else { WINDOW_LIMIT };
        let windows = state.windows;
        let Some(entry) = state.streams.get_mut(&stream).filter(|entry| !entry.local_done) else {
            return Poll::Ready(None);
        };
        let window = if windows { entry.window.min(session) } else { WINDOW_LIMIT };
        if window <= 0 {
            entry.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let window = usize::try_from(window).unwrap_or(usize::MAX);
        let count = bytes.len().min(frame::DATA_LIMIT).min(window);
        let sent = i64::try_from(count).expect("a frame is short");
        entry.window -= sent;
        state.window -= sent;
        let pushed = self.outbox.push_data(frame::data(stream, false, &bytes[..count]));
        Poll::Ready(pushed.ok().map(|()| count))
    }

    /// The client takes more.
    pub(super) fn window_update(&self, stream: u32, delta: u32) -> Result<(), FrameError> {
        let mut state = self.lock();
        state.windows = true;
        let delta = i64::from(delta);
        if stream == 0 {
            state.window += delta;
            if state.window > WINDOW_LIMIT {
                return Err(FrameError::Window);
            }
            state.streams.values_mut().for_each(Stream::wake);
            return Ok(());
        }
        // Updates for a stream that has just ended are on their way often.
        let Some(entry) = state.streams.get_mut(&stream) else { return Ok(()) };
        entry.window += delta;
        entry.wake();
        let over = entry.window > WINDOW_LIMIT;
        drop(state);
        if over {
            self.local_reset(stream, ResetReason::FlowControlError);
        }
        Ok(())
    }

    /// The client gives streams another window; open ones change by the difference (section 2.6.8).
    pub(super) fn initial_window(&self, window: u32) -> Result<(), FrameError> {
        let window = i64::from(window);
        if window > WINDOW_LIMIT {
            return Err(FrameError::Window);
        }
        let mut state = self.lock();
        state.windows = true;
        let difference = window - state.initial_window;
        state.initial_window = window;
        for entry in state.streams.values_mut() {
            entry.window += difference;
            entry.wake();
        }
        Ok(())
    }

    /// The client opens no more streams.
    pub(super) fn closing(&self) {
        self.lock().closing = true;
    }

    /// Window updates for what readers have taken.
    pub(super) fn window_updates(&self, frames: &mut Vec<bytes::Bytes>) {
        let delta = |count| u32::try_from(count).unwrap_or(u32::MAX >> 1);
        if let Some(count) = self.ledger.take_total() {
            frames.push(frame::window_update(0, delta(count)));
        }
        if !self.ledger.take_due() {
            return;
        }
        for (stream, entry) in &self.lock().streams {
            if !entry.remote_done
                && let Some(count) = entry.received.take_credit()
            {
                frames.push(frame::window_update(*stream, delta(count)));
            }
        }
    }

    /// The frame that ends the connection.
    pub(super) fn go_away(&self, reason: GoAwayReason) -> bytes::Bytes {
        frame::go_away(self.lock().last, reason)
    }

    /// The connection is gone: every stream ends where it is.
    pub(super) fn lost(&self) {
        let mut state = self.lock();
        state.closing = true;
        for entry in std::mem::take(&mut state.streams).into_values() {
            entry.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
