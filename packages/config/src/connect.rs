//! A TCP connection on which everything ends at one deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::fetch::FetchError;
use crate::url::Url;

/// Time for one address to answer, so that a dead one of several does not use up all of it.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection with a deadline.
#[derive(Debug)]
pub(crate) struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

impl Timed {
    /// Connects to the first address of the host that answers.
    pub(crate) fn connect(url: &Url, deadline: Instant) -> Result<Self, FetchError> {
        let unknown = |source| FetchError::Resolve { host: url.host.clone(), source };
        let addresses: Vec<SocketAddr> =
            (url.host.as_str(), url.port).to_socket_addrs().map_err(unknown)?.collect();
        let mut last = None;
        for address in addresses {
            let left = left(deadline).map_err(FetchError::Exchange)?;
            match TcpStream::connect_timeout(&address, left.min(CONNECT)) {
                Ok(stream) => return Ok(Self { stream, deadline }),
                Err(source) => last = Some(FetchError::Connect { address, source }),
            }
        }
        Err(last.unwrap_or_else(|| unknown(io::Error::from(io::ErrorKind::NotFound))))
    }
}

/// The time that is left; a socket takes no timeout of zero.
fn left(deadline: Instant) -> io::Result<Duration> {
    deadline
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
        .ok_or_else(|| io::Error::from(io::ErrorKind::TimedOut))
}

/// What a socket calls a timeout depends on the system.
fn named(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock { io::ErrorKind::TimedOut.into() } else { error }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer).map_err(named)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes).map_err(named)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
