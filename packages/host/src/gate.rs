//! What every request passes: who calls, whether they may, by the one table of roles, and until when. A caller who is
//! believed no longer is cut off, also in the middle of a stream.

use std::sync::Arc;
use std::time::Duration;

use http::{Method as HttpMethod, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use lepton_host_api::roles;
use lepton_host_metrics::Format;
use lepton_spiffe::UnixSeconds;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service as _;

use crate::audit;
use crate::caller::{Admitted, Caller, Refused};
use crate::clock;
use crate::deadline::{self, Bounded};
use crate::server::Server;
use crate::trusted::Now;

/// Where metrics are.
const METRICS: &str = "/metrics";
const TEXT: &str = "text/plain; charset=utf-8";
/// Between two looks at whether a caller is believed still, when nothing else is a reason for one.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Answers one request.
pub(crate) async fn pass(server: Arc<Server>, caller: Caller, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    // From before the caller is believed, so that nothing is missed.
    let changes = server.trusted.changes();
    let admitted = caller.admit(&server.trusted, server.root, clock::seconds());
    if path == METRICS {
        return metrics(&server, &caller, admitted, &request).await;
    }
    let found = admitted.and_then(|admitted| {
        let refused = |status| Refused { name: Some(admitted.name.clone()), status };
        let method =
            roles::method(&path).ok_or_else(|| refused(Status::unimplemented("there is no such method")))?;
        admitted.may(method).map_err(refused)?;
        Ok(admitted)
    });
    match found {
        Ok(admitted) => call(&server, caller, admitted, changes, request).await,
        Err(Refused { name, status }) => {
            let method = roles::method(&path).map_or(path.as_str(), |method| method.name);
            audit::refusal(name.as_deref(), &caller.peer(), method, &status);
            status.into_http()
        }
    }
}

async fn call(
    server: &Arc<Server>,
    caller: Caller,
    admitted: Admitted,
    changes: watch::Receiver<Now>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    // One that is too far away for the clock is none.
    let deadline = deadline::of(request.headers()).and_then(|left| Instant::now().checked_add(left));
    let mut end = Box::pin(end(Arc::clone(server), caller, admitted.until, changes, deadline));
    request.extensions_mut().insert(admitted);
    let mut service = server.service.clone();
    let answered = async {
        match service.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    };
    tokio::select! {
        response = answered => response.map(|body| Body::new(Bounded::new(body, end))),
        status = &mut end => status.into_http(),
    }
}

/// What ends a call before it has ended itself: the caller's deadline, or that the caller is believed no longer, because their
/// certificate has expired or their authority was taken away.
async fn end(
    server: Arc<Server>,
    caller: Caller,
    mut until: Option<UnixSeconds>,
    mut changes: watch::Receiver<Now>,
    deadline: Option<Instant>,
) -> Status {
    let over = async {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    };
    let distrusted = async {
        loop {
            tokio::select! {
                // The sender is the server's, and lives as long as it.
                _ = changes.changed() => {}
                () = expiry(until) => {}
            }
            match caller.admit(&server.trusted, server.root, clock::seconds()) {
                Ok(admitted) => until = admitted.until,
                Err(Refused { status, .. }) => return status,
            }
        }
    };
    tokio::select! {
        () = over => deadline::exceeded(),
        status = distrusted => status,
    }
}

/// Ends when a certificate may have expired: the clock may be set while this waits.
async fn expiry(until: Option<UnixSeconds>) {
    let Some(until) = until else { return std::future::pending().await };
    let left = until.saturating_add(1).saturating_sub(clock::seconds());
    tokio::time::sleep(Duration::from_secs(left.try_into().unwrap_or(0)).min(LOOK_AGAIN)).await;
}

/// Metrics are for scrapers, which know HTTP's codes and not gRPC's.
async fn metrics(
    server: &Server,
    caller: &Caller,
    admitted: Result<Admitted, Refused>,
    request: &Request<Incoming>,
) -> Response<Body> {
    if let Err(Refused { name, status }) = admitted {
        audit::refusal(name.as_deref(), &caller.peer(), METRICS, &status);
        let code = match status.code() {
            tonic::Code::PermissionDenied => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        };
        return plain(code, TEXT, format!("{}\n", status.message()));
    }
    if request.method() != HttpMethod::GET {
        return plain(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n".to_owned());
    }
    let accept =
        request.headers().get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of_accept(accept);
    match server.service_metrics(format).await {
        Ok(text) => plain(StatusCode::OK, format.content_type(), text),
        Err(status) => plain(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{}\n", status.message())),
    }
}

fn plain(code: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Whole(Some(text.into()))));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// A body in one piece.
struct Whole(Option<bytes::Bytes>);

impl http_body::Body for Whole {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<bytes::Bytes>, std::convert::Infallible>>> {
        std::task::Poll::Ready(self.0.take().map(|bytes| Ok(http_body::Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        http_body::SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
