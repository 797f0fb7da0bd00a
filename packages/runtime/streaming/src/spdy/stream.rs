//! One stream of a SPDY connection: what the client asked for, and its two directions.
//!
//! Dropping the reader discards what comes; dropping the writer ends our data.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use tokio::sync::watch;

use super::frame::ResetReason;
use super::headers::Headers;
use super::session::Session;
use crate::pipe::Reader;

/// A stream that the client has opened and nobody has accepted yet.
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Its number.
    pub(crate) id: u32,
    /// What it is for.
    pub(crate) headers: Headers,
    pub(super) reader: Reader,
    pub(super) writer: Writer,
}

impl Incoming {
    /// Tells the client that it may send.
    pub(crate) fn accept(self) -> (Reader, Writer) {
        self.writer.session.reply(self.id);
        (self.reader, self.writer)
    }

    /// Tells the client that it may not.
    pub(crate) fn refuse(self, reason: ResetReason) {
        self.writer.reset(reason);
    }
}

/// Our direction of a stream.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(super) id: u32,
    pub(super) session: Arc<Session>,
    pub(super) aborted: watch::Receiver<bool>,
}

impl Writer {
    /// Ends both directions, after the data that was written.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.session.local_reset(self.id, reason);
    }

    /// Returns when the stream is reset or its connection lost, and never when it ends as it should: bytes that were
    /// received may still be on their way then.
    pub(crate) fn aborted(&self) -> impl Future<Output = ()> + use<> {
        let mut aborted = self.aborted.clone();
        async move {
            if aborted.wait_for(|aborted| *aborted).await.is_err() {
                std::future::pending().await
            }
        }
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.session.outbox.poll_space(context))?;
        match ready!(self.session.poll_send(self.id, bytes, context)) {
            Some(count) => Poll::Ready(Ok(count)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.session.local_end(self.id);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.session.local_end(self.id);
    }
}
