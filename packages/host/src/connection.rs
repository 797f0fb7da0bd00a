//! One connection: its handshake, its limits, and HTTP on it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use lepton_host_api::roles::Role;
use rustls::{CertificateError, Error as TlsError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use crate::audit;
use crate::caller::Caller;
use crate::clock;
use crate::gate;
use crate::handshakes::Place;
use crate::log::say;
use crate::server::Server;

/// Who takes longer for a handshake, or for the head of a request, is no client.
const PATIENCE: Duration = Duration::from_secs(10);
/// A connection without any call is taken away after that.
const SILENCE: Duration = Duration::from_secs(60);
/// Calls of one connection at a time.
const STREAMS: u32 = 16;
/// What a stream, and a connection, may send before it is read. Requests are small but for machine configs.
const STREAM_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// All headers of a request.
const HEADERS: u32 = 16 * 1024;
/// Calls that were cancelled and are not forgotten yet (CVE-2023-44487).
const RESETS: usize = 32;
/// A client that answers nothing for so long hangs, or is gone.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(20);

/// Serves somebody on the network.
pub(crate) async fn remote(server: Arc<Server>, stream: TcpStream, address: SocketAddr, handshake: Place) {
    // Nobody can be believed, or the host has no certificate yet.
    let Some(ready) = server.trusted.ready() else { return };
    let accepted = tokio::time::timeout(PATIENCE, TlsAcceptor::from(ready.config).accept(stream)).await;
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return audit::handshake(&address.to_string(), &said(&error)),
        Err(_) => return audit::handshake(&address.to_string(), "no handshake within 10 s"),
    };
    // Those who have shown who they are do not wait for those who have not.
    handshake.done();
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let caller = Caller::Remote { chain: Arc::new(chain), address };
    // Whoever else takes all places does not shut admins out.
    let is_admin = caller
        .admit(&server.trusted, server.root, clock::seconds())
        .is_ok_and(|admitted| admitted.role == Role::Admin);
    let places = if is_admin { &server.admin_places } else { &server.places };
    let Ok(_place) = Arc::clone(places).try_acquire_owned() else {
        return audit::handshake(&address.to_string(), "too many connections");
    };
    serve(server, stream, caller).await;
}

/// Serves a process of this host.
pub(crate) async fn local(server: Arc<Server>, stream: UnixStream) {
    let Ok(peer) = stream.peer_cred() else { return };
    let Ok(_place) = Arc::clone(&server.local_places).try_acquire_owned() else {
        return say(format_args!(
            "a process of the user {} was turned away: too many connections",
            peer.uid()
        ));
    };
    serve(server, stream, Caller::Local { uid: peer.uid(), pid: peer.pid() }).await;
}

async fn serve(server: Arc<Server>, stream: impl AsyncRead + AsyncWrite + Unpin + 'static, caller: Caller) {
    let has_called = AtomicBool::new(false);
    let service = service_fn(|request| {
        has_called.store(true, Ordering::Relaxed);
        let (server, caller) = (Arc::clone(&server), caller.clone());
        async move { Ok::<_, std::convert::Infallible>(gate::pass(server, caller, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADERS)
        .max_pending_accept_reset_streams(RESETS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PONG);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    // A connection that breaks is the caller's affair; their calls were answered or not.
    tokio::select! {
        _ = builder.serve_connection(TokioIo::new(stream), service) => {}
        () = silence(&has_called) => {}
    }
}

/// Ends when there was no call for a while; never when there was one.
async fn silence(has_called: &AtomicBool) {
    tokio::time::sleep(SILENCE).await;
    if has_called.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// What a handshake failed by, for people.
fn said(error: &io::Error) -> String {
    let of_rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    match of_rustls {
        Some(TlsError::NoCertificatesPresented) => "no client certificate".to_owned(),
        Some(TlsError::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "the client certificate is of an unknown authority".to_owned()
        }
        Some(TlsError::InvalidCertificate(CertificateError::NotValidForName)) => {
            "the client certificate is no X.509-SVID".to_owned()
        }
        _ => error.to_string(),
    }
}
