//! A client's connection: TLS or not, HTTP/1.1 or HTTP/2, with limits of size and time.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::forward;
use crate::meter::Metered;
use crate::peer::Peer;
use crate::router::Router;

/// How a client starts HTTP/2 without being asked (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A request's head in bytes; more is answered with 431.
const HEAD_MAX: u32 = 32 << 10;
/// What is read ahead of a body; at least twice a head.
const BUFFER: usize = 64 << 10;
/// Requests at a time on one connection of HTTP/2.
const STREAMS: u32 = 128;
/// What a client may send ahead on one stream, and on a connection.
const STREAM_WINDOW: u32 = 128 << 10;
const WINDOW: u32 = 512 << 10;
/// What waits for a client that reads slowly, on one stream.
const SEND_MAX: usize = 64 << 10;

/// Ends a connection orderly: the one thing that those of both protocols have in common.
macro_rules! drive {
    ($connection:expr, $router:expr, $peer:expr) => {{
        let mut connection = pin!($connection);
        let mut expiry = pin!($peer.meter.expiry());
        let mut stop = $router.stop.subscribe();
        let mut is_ending = false;
        loop {
            tokio::select! {
                // What goes wrong here is the client's doing; its requests are in the log.
                _ = connection.as_mut() => break,
                () = expiry.as_mut() => break,
                _ = stop.wait_for(|stop| *stop), if !is_ending => {
                    is_ending = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }};
}

/// Serves a plain connection.
pub(crate) async fn plain(router: Arc<Router>, peer: Arc<Peer>, stream: TcpStream) {
    serve(router, peer, stream).await;
}

/// Serves a connection with TLS; a client that does not come to an end with it is left.
pub(crate) async fn tls(router: Arc<Router>, peer: Arc<Peer>, stream: TcpStream, acceptor: TlsAcceptor) {
    let accepted = tokio::select! {
        accepted = acceptor.accept(stream) => accepted,
        () = peer.meter.expiry() => return,
        () = stopped(&router) => return,
    };
    let Ok(stream) = accepted else { return };
    match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => serve_http2(router, peer, stream, Vec::new()).await,
        Some(_) => serve_http1(router, peer, stream, Vec::new()).await,
        None => serve(router, peer, stream).await,
    }
}

/// Serves the protocol that the client begins with.
async fn serve<S>(router: Arc<Router>, peer: Arc<Peer>, mut stream: S)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let began = tokio::select! {
        began = beginning(&mut stream) => began,
        () = peer.meter.expiry() => return,
        () = stopped(&router) => return,
    };
    match began {
        Ok(ahead) if ahead == PREFACE => serve_http2(router, peer, stream, ahead).await,
        Ok(ahead) if !ahead.is_empty() => serve_http1(router, peer, stream, ahead).await,
        Ok(_) | Err(_) => {}
    }
}

/// Ends when the router is to end.
async fn stopped(router: &Router) {
    let _ = router.stop.subscribe().wait_for(|stop| *stop).await;
}

/// Reads until it is clear whether this is the start of HTTP/2.
async fn beginning(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut ahead = Vec::with_capacity(PREFACE.len());
    while ahead.len() < PREFACE.len() && PREFACE.starts_with(&ahead) {
        let mut part = [0; PREFACE.len()];
        let left = PREFACE.len() - ahead.len();
        match stream.read(&mut part[..left]).await? {
            0 => break,
            count => ahead.extend_from_slice(&part[..count]),
        }
    }
    Ok(ahead)
}

async fn serve_http1<S>(router: Arc<Router>, peer: Arc<Peer>, stream: S, ahead: Vec<u8>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = {
        let (router, peer) = (Arc::clone(&router), Arc::clone(&peer));
        service_fn(move |request| forward::handle(Arc::clone(&router), Arc::clone(&peer), request))
    };
    let stream = TokioIo::new(Metered::new(stream, ahead, Arc::clone(&peer)));
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_header_size(HEAD_MAX as usize)
        // The meter looks after that.
        .header_read_timeout(None)
        .serve_connection(stream, service)
        .with_upgrades();
    drive!(connection, router, peer);
}

async fn serve_http2<S>(router: Arc<Router>, peer: Arc<Peer>, stream: S, ahead: Vec<u8>)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    peer.meter.multiplex();
    let service = {
        let (router, peer) = (Arc::clone(&router), Arc::clone(&peer));
        service_fn(move |request| forward::handle(Arc::clone(&router), Arc::clone(&peer), request))
    };
    let stream = TokioIo::new(Metered::new(stream, ahead, Arc::clone(&peer)));
    let connection = http2::Builder::new(TokioExecutor::new())
        .max_header_list_size(HEAD_MAX)
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(SEND_MAX)
        .serve_connection(stream, service);
    drive!(connection, router, peer);
}
