//! Deadlines of callers, the header `grpc-timeout` of the gRPC protocol over HTTP/2; and answers that end before they have
//! ended themselves.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// The time that a caller gives; nothing when none is given, or it cannot be read.
pub(crate) fn of(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get("grpc-timeout")?.to_str().ok()?)
}

/// `TimeoutValue TimeoutUnit`: at most eight digits, and one of `HMSmun`.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(value * 3600)),
        "M" => Some(Duration::from_secs(value * 60)),
        "S" => Some(Duration::from_secs(value)),
        "m" => Some(Duration::from_millis(value)),
        "u" => Some(Duration::from_micros(value)),
        "n" => Some(Duration::from_nanos(value)),
        _ => None,
    }
}

/// What is said when the time is over.
pub(crate) fn exceeded() -> Status {
    Status::deadline_exceeded("the caller's deadline is over")
}

/// What ends an answer before it has ended itself, and what is said then.
type End = Pin<Box<dyn Future<Output = Status> + Send>>;

/// An answer that is ended from outside.
pub(crate) struct Bounded {
    body: Body,
    end: End,
    is_over: bool,
}

impl Bounded {
    /// The answer until `end` says why it ends.
    pub(crate) fn new(body: Body, end: impl Future<Output = Status> + Send + 'static) -> Self {
        Self { body, end: Box::pin(end), is_over: false }
    }
}

impl http_body::Body for Bounded {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        // First, as an answer that always has more would never be ended.
        let Poll::Ready(status) = self.end.as_mut().poll(cx) else {
            return Pin::new(&mut self.body).poll_frame(cx);
        };
        // What made the answer is told to stop.
        self.body = Body::empty();
        self.is_over = true;
        let mut trailers = HeaderMap::new();
        Poll::Ready(match status.add_header(&mut trailers) {
            Ok(()) => Some(Ok(Frame::trailers(trailers))),
            Err(status) => Some(Err(status)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.is_over || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        assert_eq!(parse("1H"), Some(Duration::from_secs(3600)));
        assert_eq!(parse("99999999M"), Some(Duration::from_secs(99_999_999 * 60)));
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("250m"), Some(Duration::from_millis(250)));
        assert_eq!(parse("1u"), Some(Duration::from_micros(1)));
        assert_eq!(parse("1n"), Some(Duration::from_nanos(1)));
        for bad in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "100000000S", "1SS", "é", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
