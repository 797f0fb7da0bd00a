//! Runs the two directions of one upgraded connection until it ends, whichever protocol it speaks.
//!
//! The protocols give it a future that reads and one that writes; it decides when the connection is over.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::time::Instant;

use crate::outbox::Outbox;

/// How long the peer may take to read our last words and to close its side.
const LINGER: Duration = Duration::from_secs(10);
/// Small frames are written together.
const WRITE_BUFFER: usize = 16 * 1024;

/// When something happened on a connection last.
#[derive(Debug)]
pub(crate) struct Activity {
    start: Instant,
    /// Milliseconds after `start`.
    last: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self { start: Instant::now(), last: AtomicU64::new(0) }
    }

    /// Something happened.
    pub(crate) fn touch(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(elapsed, Ordering::Relaxed);
    }

    /// Returns when nothing has happened for `idle`.
    async fn ended(&self, idle: Duration) {
        loop {
            let end = self.start + Duration::from_millis(self.last.load(Ordering::Relaxed)) + idle;
            if end <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(end).await;
        }
    }
}

/// Both directions, until the peer leaves, our last words are written, or nothing happens for `idle`.
///
/// `read` returns last words for the peer when it is to blame or says goodbye, and nothing when it is simply gone.
pub(crate) async fn drive(
    read: impl Future<Output = Option<Bytes>>,
    write: impl Future<Output = io::Result<()>>,
    outbox: &Outbox,
    activity: &Activity,
    idle: Duration,
) {
    let mut read = pin!(read);
    let mut write = pin!(write);
    tokio::select! {
        last_words = &mut read => {
            if let Some(last_words) = last_words {
                outbox.finish(last_words);
                let _ = tokio::time::timeout(LINGER, &mut write).await;
            }
        }
        written = &mut write => {
            // Closing with unread bytes would reset the connection and may take our last words with it.
            if written.is_ok() {
                let _ = tokio::time::timeout(LINGER, &mut read).await;
            }
        }
        () = activity.ended(idle) => {}
    }
    outbox.close();
}

/// Writes what the outbox holds until it is finished; `before` adds frames that are made only when they can be written.
pub(crate) async fn write_frames(
    writer: impl AsyncWrite + Unpin,
    outbox: &Outbox,
    activity: &Activity,
    mut before: impl FnMut(&mut Vec<Bytes>),
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER, writer);
    let mut batch = Vec::new();
    loop {
        before(&mut batch);
        let more = outbox.take(&mut batch);
        if batch.is_empty() {
            writer.flush().await?;
            if !more {
                return writer.shutdown().await;
            }
            outbox.ready.notified().await;
            continue;
        }
        for frame in batch.drain(..) {
            writer.write_all(&frame).await?;
            activity.touch();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_ends_and_a_busy_one_does_not() {
        let (outbox, activity) = (Outbox::default(), Activity::new());
        let idle = Duration::from_secs(60);
        let start = Instant::now();
        let mut driven = pin!(drive(pending(), pending(), &outbox, &activity, idle));
        assert!(tokio::time::timeout(Duration::from_secs(40), &mut driven).await.is_err());
        activity.touch();
        driven.await;
        assert!((99..=101).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(outbox.push_data(Bytes::new()), Err(crate::outbox::Refused::Closed));
    }

    #[tokio::test]
    async fn last_words_are_written_after_data() {
        let (outbox, activity) = (Outbox::default(), Activity::new());
        outbox.push_data(Bytes::from_static(b"data ")).unwrap();
        let mut written = Vec::new();
        let write = write_frames(&mut written, &outbox, &activity, |_| ());
        let read = async { Some(Bytes::from_static(b"goodbye")) };
        drive(read, write, &outbox, &activity, Duration::from_secs(60)).await;
        assert_eq!(written, b"data goodbye");
    }
}
