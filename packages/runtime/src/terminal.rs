//! The runtime's side of a program's terminal, for tokio. The end of the program's side is the end of the file.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Context as _, Result};

/// A terminal.
#[derive(Debug)]
pub(crate) struct Terminal(AsyncFd<OwnedFd>);

impl Terminal {
    /// Takes the runtime's side.
    pub(crate) fn new(side: OwnedFd) -> Result<Self> {
        rustix::io::ioctl_fionbio(&side, true).or_cannot("use the terminal")?;
        #[expect(
            deprecated,
            reason = "an owned descriptor stays the same one, which is all that `register` asks for"
        )]
        let side = AsyncFd::new(side);
        side.or_cannot("use the terminal").map(Self)
    }

    /// A copy of the descriptor, to change the terminal's size with.
    pub(crate) fn size_setter(&self) -> Result<OwnedFd> {
        self.0.get_ref().try_clone().or_cannot("use the terminal")
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let chunk = buffer.initialize_unfilled();
            match guard.try_io(|side| rustix::io::read(side, chunk).map_err(io::Error::from)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // Nobody has the program's side any more.
                Ok(Err(error)) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) = guard.try_io(|side| rustix::io::write(side, bytes).map_err(io::Error::from)) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
