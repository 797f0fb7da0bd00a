//! A connection to a destination, with or without TLS, that knows how much of it the other host has.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ProtocolVersion;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::{Destination, SendError, tls};
use crate::sys;

/// To connect, and then to shake hands.
const PATIENCE: Duration = Duration::from_secs(10);
/// A host that vanished while nothing was said is noticed after this and three probes.
const IDLE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(10);
/// A destination that gives no session tickets has so long to refuse.
const DOUBT: Duration = Duration::from_secs(1);

/// Both directions of a connection.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection.
pub(super) struct Connection {
    pub(super) io: Box<dyn Duplex>,
    pub(super) meter: Meter,
}

/// Knows how far a connection is.
#[derive(Debug)]
pub(super) struct Meter {
    socket: OwnedFd,
    written: Arc<AtomicU64>,
}

impl Meter {
    /// Bytes that were given to this host's kernel, those of TLS too.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Of these, how many the other host's kernel has.
    pub(super) fn confirmed(&self) -> u64 {
        // First the queue: what is written meanwhile only makes the answer too small.
        let written = self.written();
        match sys::unconfirmed(&self.socket) {
            Ok(count) => written.saturating_sub(count),
            Err(_) => 0,
        }
    }
}

/// Connects.
pub(super) async fn connect(destination: &Destination) -> Result<Connection, SendError> {
    let failed = |error| SendError::Connect(destination.authority.clone(), error);
    let config = if destination.scheme.is_tls() { Some(tls::config(destination)?) } else { None };
    let connecting = TcpStream::connect(&*destination.authority);
    let stream = patiently(connecting).await.map_err(failed)?;
    let keepalive = TcpKeepalive::new().with_time(IDLE).with_interval(PROBE).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive).map_err(failed)?;
    let socket = stream.as_fd().try_clone_to_owned().map_err(failed)?;
    let written = Arc::new(AtomicU64::new(0));
    let meter = Meter { socket, written: Arc::clone(&written) };
    let counted = Counted { stream, written };
    let io: Box<dyn Duplex> = match config {
        None => Box::new(counted),
        Some(config) => {
            let name = tls::server_name(&destination.host)?;
            let shaking = TlsConnector::from(config).connect(name, counted);
            let mut tls = patiently(shaking).await.map_err(failed)?;
            // OTLP has answers.
            if !destination.scheme.is_otlp() {
                accepted(&mut tls).await.map_err(failed)?;
            }
            Box::new(tls)
        }
    };
    Ok(Connection { io, meter })
}

async fn patiently<T>(doing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let done = tokio::time::timeout(PATIENCE, doing).await;
    done.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long")))
}

/// Waits until the destination has looked at what it was shown. In TLS 1.3 a handshake is over for a client before the server has
/// its certificate (RFC 8446 section 2, figure 1), and what is sent then to one that refuses it is confirmed by TCP and lost.
/// Servers give session tickets when they have all of the handshake, the first sign that a client can see.
async fn accepted(tls: &mut TlsStream<Counted>) -> io::Result<()> {
    if tls.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Ok(());
    }
    let sign = poll_fn(|context| {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        match Pin::new(&mut *tls).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()))
            }
            Poll::Pending if tls.get_ref().1.tls13_tickets_received() == 0 => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(())),
            // Whoever speaks has taken it; nobody has anything to say to us.
            Poll::Ready(result) => Poll::Ready(result),
        }
    });
    tokio::time::timeout(DOUBT, sign).await.unwrap_or(Ok(()))
}

/// Counts what is written.
struct Counted {
    stream: TcpStream,
    written: Arc<AtomicU64>,
}

impl Counted {
    fn count(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = result {
            self.written.fetch_add(count as u64, Ordering::Relaxed);
        }
        result
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.count(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.count(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
