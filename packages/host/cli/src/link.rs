//! One connection to one host.

use std::io;
use std::net::Ipv6Addr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lepton_host_api::MAX_MESSAGE;
use lepton_host_api::v1::host_client::HostClient;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::{Service, http::Uri};
use tonic::transport::{Channel, Endpoint};

use crate::failure::Failure;
use crate::target::{Access, Address, Target};
use crate::tls;

/// A connection that is dead is noticed while a log is followed, too.
const PING: Duration = Duration::from_secs(20);
const PONG: Duration = Duration::from_secs(10);

/// A client of a host.
pub(crate) type Client = HostClient<Channel>;

/// A connection to a host.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    /// What the host has ended the connection with.
    alert: Arc<OnceLock<String>>,
}

impl Link {
    /// A client for one call.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Why a call has failed. TLS 1.3 lets a client send before the host has judged its certificate, so a refusal of it
    /// comes with the first call, behind errors of connections that do not tell.
    pub(crate) fn judged(&self, failure: Failure) -> Failure {
        match (&failure, self.alert.get()) {
            (Failure::Status(_), Some(alert)) => Failure::Rejected(format!("TLS alert {alert}")),
            _ => failure,
        }
    }
}

/// Connects within that time.
pub(crate) async fn connect(
    target: &Target,
    access: Option<&Access>,
    limit: Duration,
) -> Result<Link, Failure> {
    let to = target.address.to_string();
    match tokio::time::timeout(limit, open(target, access)).await {
        Ok(connected) => connected,
        Err(_) => {
            let why = format!("no answer within {} seconds", limit.as_secs_f32());
            Err(Failure::Unreachable { to, why })
        }
    }
}

async fn open(target: &Target, access: Option<&Access>) -> Result<Link, Failure> {
    let to = target.address.to_string();
    let unreachable = |error: io::Error| Failure::Unreachable { to: to.clone(), why: error.to_string() };
    let stream: Box<dyn Stream> = match (&target.address, access) {
        (Address::Unix(path), _) => Box::new(UnixStream::connect(path).await.map_err(unreachable)?),
        (Address::Tcp(name, port), Some(access)) => {
            let stream = TcpStream::connect((name.as_str(), *port)).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(unreachable)?;
            let config = tls::config(access, target.id.as_ref())?;
            // It is no part of how the host is verified, but the protocol wants one.
            let server = ServerName::try_from(name.clone())
                .unwrap_or_else(|_| ServerName::IpAddress(Ipv6Addr::LOCALHOST.into()));
            let connected = TlsConnector::from(Arc::new(config)).connect(server, stream).await;
            Box::new(connected.map_err(|error| tls::failure(&to, &error))?)
        }
        (Address::Tcp(..), None) => return Err(Failure::Usage("hosts of the network need keys".to_owned())),
    };
    let alert = Arc::new(OnceLock::new());
    // TLS is done; this is only the name in headers.
    let endpoint = Endpoint::from_static("http://lepton-host")
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true);
    let channel = endpoint
        .connect_with_connector(Once(Some(Watched { stream, alert: Arc::clone(&alert), broken: None })))
        .await;
    let channel = channel.map_err(|error| Failure::Unreachable { to: to.clone(), why: cause(&error) })?;
    let client = HostClient::new(channel);
    let client = client.max_decoding_message_size(MAX_MESSAGE).max_encoding_message_size(MAX_MESSAGE);
    Ok(Link { client, alert })
}

/// The innermost cause: what is around it says no more than that it was a connection.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// A connection, whatever it is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that remembers the alert it was ended with.
struct Watched {
    stream: Box<dyn Stream>,
    alert: Arc<OnceLock<String>>,
    /// Why nothing can be written any more.
    broken: Option<io::Error>,
}

impl Watched {
    fn remember<T>(&self, done: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = done
            && let Some(alert) = tls::alert(error)
        {
            // The first one counts.
            let _ = self.alert.set(alert);
        }
    }

    /// A host that closes the connection says why before that, and it is read though nothing can be written any more.
    fn last_words<T>(&mut self, done: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let Poll::Ready(Err(error)) = done else { return done };
        self.broken = Some(error);
        self.listen(context).map(|()| Err(self.broken.take().unwrap_or_else(gone)))
    }

    /// Reads to the end, which is near when the other side has closed.
    fn listen(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut space = [0; 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut space);
            let read = Pin::new(&mut self.stream).poll_read(context, &mut buffer);
            self.remember(&read);
            match read {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
            }
        }
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, "the host has closed the connection")
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.remember(&read);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match self.broken.take() {
            None => Pin::new(&mut self.stream).poll_write(context, bytes),
            Some(error) => Poll::Ready(Err(error)),
        };
        self.last_words(written, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match self.broken.take() {
            None => Pin::new(&mut self.stream).poll_flush(context),
            Some(error) => Poll::Ready(Err(error)),
        };
        self.last_words(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Gives the connection that there is. When that is gone the command has failed: a second one could be another host.
struct Once(Option<Watched>);

impl Service<Uri> for Once {
    type Response = TokioIo<Watched>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let stream = self.0.take();
        Box::pin(async move { stream.map(TokioIo::new).ok_or_else(gone) })
    }
}
