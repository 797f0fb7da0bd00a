//! The body of a request on its way to an instance: passed on as it comes, and noticed when it moves.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::meter::millis;

/// A body; without one it is empty.
#[derive(Debug, Default)]
pub(crate) struct Upload(Option<(Incoming, Arc<Progress>)>);

/// How far a body is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    moved: AtomicU64,
    has_ended: AtomicBool,
}

impl Progress {
    /// When its last part was passed on, in milliseconds of this process.
    pub(crate) fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Whether all of it was passed on.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Relaxed)
    }
}

impl Upload {
    /// The body of a request, and how far it is if it has any.
    pub(crate) fn of(incoming: Incoming) -> (Self, Option<Arc<Progress>>) {
        if incoming.is_end_stream() {
            return (Self::default(), None);
        }
        let progress = Arc::new(Progress::default());
        (Self(Some((incoming, Arc::clone(&progress)))), Some(progress))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some((incoming, progress)) = &mut self.0 else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        progress.moved.store(millis(), Ordering::Relaxed);
        if frame.is_none() || incoming.is_end_stream() {
            progress.has_ended.store(true, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(incoming, _)| incoming.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |(incoming, _)| incoming.size_hint())
    }
}
