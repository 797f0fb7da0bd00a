//! The body of a response on its way to the client: a short text of ours, or an instance's, passed on as it comes.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::endpoint::{Endpoint, Sender};
use crate::record::Record;
use crate::upload::Progress;

/// A body.
pub(crate) struct Reply {
    content: Content,
    under_way: Option<Box<UnderWay>>,
}

enum Content {
    Text(Option<Bytes>),
    Stream(Incoming),
}

struct UnderWay {
    record: Record,
    lease: Option<Lease>,
}

/// A connection to an instance that can be used again once request and response have ended.
pub(crate) struct Lease {
    /// Whose it is.
    pub(crate) endpoint: Arc<Endpoint>,
    /// The connection.
    pub(crate) sender: Sender,
    /// Of the request's body.
    pub(crate) progress: Option<Arc<Progress>>,
}

impl Reply {
    /// Passes on what an instance says.
    pub(crate) fn stream(incoming: Incoming, record: Record, lease: Lease) -> Self {
        let is_empty = incoming.is_end_stream();
        let under_way = Box::new(UnderWay { record, lease: Some(lease) });
        let mut reply = Self { content: Content::Stream(incoming), under_way: Some(under_way) };
        if is_empty {
            reply.complete();
        }
        reply
    }

    /// A body without bytes.
    pub(crate) fn empty() -> Self {
        Self { content: Content::Text(None), under_way: None }
    }

    /// All of it has been passed on.
    fn complete(&mut self) {
        let Some(mut under_way) = self.under_way.take() else { return };
        under_way.record.is_complete = true;
        if let Some(lease) = under_way.lease.take()
            && lease.progress.is_none_or(|progress| progress.has_ended())
        {
            lease.endpoint.keep(lease.sender);
        }
    }
}

/// A response of ours: a status with one line of text.
pub(crate) fn text(mut record: Record, status: StatusCode, line: &str) -> Response<Reply> {
    record.status = Some(status.as_u16());
    record.is_complete = true;
    let line = Bytes::from(format!("{} {line}\n", status.as_u16()));
    record.bytes = line.len() as u64;
    let under_way = Some(Box::new(UnderWay { record, lease: None }));
    let mut response = Response::new(Reply { content: Content::Text(Some(line)), under_way });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Body for Reply {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let incoming = match &mut this.content {
            Content::Text(text) => {
                let frame: Option<Result<_, Infallible>> = text.take().map(|text| Ok(Frame::data(text)));
                return Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})));
            }
            Content::Stream(incoming) => incoming,
        };
        let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        let has_ended =
            frame.is_none() || incoming.is_end_stream() && frame.as_ref().is_some_and(Result::is_ok);
        if let (Some(Ok(frame)), Some(under_way)) = (&frame, &mut this.under_way) {
            under_way.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        if has_ended {
            this.complete();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Text(text) => text.is_none(),
            Content::Stream(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Content::Stream(incoming) => incoming.size_hint(),
        }
    }
}
