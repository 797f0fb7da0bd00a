//! What waits to be written to one connection: short answers first, then data in the order in which it came.
//!
//! It knows no protocol and holds a bounded number of bytes: writers of data wait, and a peer that provokes more short
//! answers than it reads loses the connection.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes of data that wait before writers of data wait.
const DATA_LIMIT: usize = 256 * 1024;
/// What a frame costs beyond its bytes.
const FRAME_COST: usize = 64;
/// Short answers that wait before the peer counts as hostile.
const URGENT_LIMIT: usize = 1024;
/// Bytes of data that are taken at once, so that a short answer never waits for more than these.
const BATCH: usize = 64 * 1024;

/// Why something cannot be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refused {
    /// The peer does not read its answers.
    Full,
    /// The connection has ended.
    Closed,
}

/// The queue of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Something is there for the writing task; also the signal that a reader has taken bytes.
    pub(crate) ready: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    urgent: VecDeque<Bytes>,
    data: VecDeque<Bytes>,
    data_cost: usize,
    waiting: Vec<Waker>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Phase {
    #[default]
    Open,
    /// Nothing may be added, what is there is still written.
    Finishing,
    /// Nothing is written any more.
    Closed,
}

impl Outbox {
    /// Adds a short answer, which overtakes data.
    pub(crate) fn push_urgent(&self, frame: Bytes) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        if state.urgent.len() >= URGENT_LIMIT {
            return Err(Refused::Full);
        }
        state.urgent.push_back(frame);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Ready when data may be added.
    pub(crate) fn poll_space(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if state.data_cost < DATA_LIMIT {
            return Poll::Ready(Ok(()));
        }
        state.waiting.push(context.waker().clone());
        Poll::Pending
    }

    /// Adds data, or a frame that must not overtake data; callers with bytes of a stream ask for space before.
    pub(crate) fn push_data(&self, frame: Bytes) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        state.data_cost += frame.len() + FRAME_COST;
        state.data.push_back(frame);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Adds nothing more after `frame`; the writing task ends when all is written.
    pub(crate) fn finish(&self, frame: Bytes) {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.data.push_back(frame);
            state.phase = Phase::Finishing;
        }
        self.woken(state);
    }

    /// Drops what waits: the connection is lost.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.phase = Phase::Closed;
        state.urgent.clear();
        state.data.clear();
        state.data_cost = 0;
        self.woken(state);
    }

    /// Moves what is to be written next into `batch`; `false` when all is written and nothing more will come.
    pub(crate) fn take(&self, batch: &mut Vec<Bytes>) -> bool {
        let mut state = self.lock();
        batch.extend(state.urgent.drain(..));
        let mut taken = 0;
        while taken < BATCH
            && let Some(frame) = state.data.pop_front()
        {
            taken += frame.len();
            state.data_cost = state.data_cost.saturating_sub(frame.len() + FRAME_COST);
            batch.push(frame);
        }
        let more = !batch.is_empty() || state.phase == Phase::Open;
        if state.data_cost < DATA_LIMIT {
            self.woken(state);
        }
        more
    }

    fn woken(&self, mut state: MutexGuard<'_, State>) {
        let waiting = std::mem::take(&mut state.waiting);
        let over = state.phase != Phase::Open;
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
        if over {
            self.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two changes that belong together.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    fn take(outbox: &Outbox) -> Vec<Bytes> {
        let mut batch = Vec::new();
        outbox.take(&mut batch);
        batch
    }

    #[test]
    fn answers_overtake_data() {
        let outbox = Outbox::default();
        outbox.push_data(Bytes::from_static(b"data")).unwrap();
        outbox.push_urgent(Bytes::from_static(b"pong")).unwrap();
        assert_eq!(take(&outbox), ["pong", "data"]);
    }

    #[test]
    fn a_peer_that_does_not_read_its_answers_is_refused() {
        let outbox = Outbox::default();
        for _ in 0..URGENT_LIMIT {
            outbox.push_urgent(Bytes::from_static(b"pong")).unwrap();
        }
        assert_eq!(outbox.push_urgent(Bytes::new()), Err(Refused::Full));
    }

    #[tokio::test]
    async fn writers_wait_until_there_is_space() {
        let outbox = Outbox::default();
        while poll_fn(|context| Poll::Ready(outbox.poll_space(context))).await.is_ready() {
            outbox.push_data(Bytes::from(vec![0; 32 * 1024])).unwrap();
        }
        assert!(outbox.lock().data_cost < DATA_LIMIT + 33 * 1024);
        take(&outbox);
        poll_fn(|context| outbox.poll_space(context)).await.unwrap();
    }

    #[tokio::test]
    async fn what_waits_is_written_before_the_end() {
        let outbox = Outbox::default();
        outbox.push_data(Bytes::from_static(b"data")).unwrap();
        outbox.finish(Bytes::from_static(b"goodbye"));
        assert_eq!(outbox.push_data(Bytes::new()), Err(Refused::Closed));
        let error = poll_fn(|context| outbox.poll_space(context)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let mut batch = Vec::new();
        assert!(outbox.take(&mut batch));
        assert_eq!(batch, ["data", "goodbye"]);
        batch.clear();
        assert!(!outbox.take(&mut batch));
    }
}
