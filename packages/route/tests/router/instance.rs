//! Instances: servers that pods would run.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A server with a name.
pub(crate) struct Instance {
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Requests that it has answered.
    answered: Arc<AtomicUsize>,
}

impl Instance {
    /// Answers as `answer` does.
    pub(crate) async fn new(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = watch::Sender::new(false);
        let answered = Arc::<AtomicUsize>::default();
        let instance = Self { address, answered: Arc::clone(&answered), stop: stop.clone() };
        tokio::spawn(async move {
            let mut stopped = stop.subscribe();
            loop {
                let (stream, _) = tokio::select! {
                    accepted = listener.accept() => accepted.unwrap(),
                    _ = stopped.wait_for(|stop| *stop) => return,
                };
                tokio::spawn(serve(name, stream, stop.subscribe(), Arc::clone(&answered)));
            }
        });
        instance
    }

    /// As at SIGTERM: it takes no connections, and closes those that it has after the request under way.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered.load(Ordering::SeqCst)
    }
}

async fn serve(
    name: &'static str,
    stream: TcpStream,
    mut stop: watch::Receiver<bool>,
    answered: Arc<AtomicUsize>,
) {
    let mut first = [0; 3];
    let is_http2 = stream.peek(&mut first).await.is_ok_and(|count| &first[..count] == b"PRI");
    let service = service_fn(move |request| {
        answered.fetch_add(1, Ordering::SeqCst);
        answer(name, request)
    });
    let stream = TokioIo::new(stream);
    if is_http2 {
        let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(stream, service)
            .await;
        return;
    }
    let mut connection = pin!(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
    tokio::select! {
        _ = connection.as_mut() => {}
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn text(text: impl Into<Bytes>) -> Response<BoxBody<Bytes, hyper::Error>> {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

async fn answer(
    name: &'static str,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let path = request.uri().path().to_owned();
    Ok(match &*path {
        "/who" => text(name),
        "/head" => {
            let mut lines = format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
            for (name, value) in request.headers() {
                lines.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
            }
            let mut response = text(lines);
            response.headers_mut().insert("connection", "x-secret".parse().unwrap());
            response.headers_mut().insert("x-secret", "1".parse().unwrap());
            response.headers_mut().insert("keep-alive", "timeout=3".parse().unwrap());
            response.headers_mut().append("set-cookie", "a=1".parse().unwrap());
            response.headers_mut().append("set-cookie", "b=2".parse().unwrap());
            response
        }
        "/echo" => {
            let mut response = Response::new(request.into_body().boxed());
            response.headers_mut().insert("trailer", "x-sum".parse().unwrap());
            response
        }
        "/count" => {
            let mut body = request.into_body();
            let mut count = 0;
            while let Some(frame) = body.frame().await {
                let Ok(frame) = frame else { break };
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            text(count.to_string())
        }
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            text(name)
        }
        "/slower" => {
            tokio::time::sleep(Duration::from_secs(2)).await;
            text(name)
        }
        "/never" => std::future::pending().await,
        "/big" => text(vec![b'x'; 8 << 20]),
        other => {
            let mut response = text(format!("no {other}"));
            *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
            response
        }
    })
}
