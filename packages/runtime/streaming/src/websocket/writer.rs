//! Writes bytes as messages of one channel, or as plain binary messages.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use tokio::io::AsyncWrite;

use super::frame::{Opcode, encode};
use crate::outbox::Outbox;

/// Bytes of one message; Kubernetes' client reads with a buffer of this size.
const MESSAGE: usize = 32 * 1024;

/// How bytes become messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Envelope {
    /// As they are.
    Plain,
    /// Behind the channel's number.
    Channel(u8),
    /// As base64 text behind the channel's digit.
    Base64(u8),
}

impl Envelope {
    /// The frame of one message.
    pub(super) fn seal(self, bytes: &[u8]) -> Bytes {
        match self {
            Self::Plain => encode(Opcode::Binary, &[], bytes),
            Self::Channel(channel) => encode(Opcode::Binary, &[channel], bytes),
            Self::Base64(channel) => {
                // Numbers beyond 9 go on behind the digit 9 in ASCII, as in Kubernetes.
                encode(Opcode::Text, &[b'0' + channel], STANDARD.encode(bytes).as_bytes())
            }
        }
    }
}

/// The server's end of a channel. Only the connection can end it: the protocols have no end of file for it.
#[derive(Debug)]
pub(crate) struct Writer {
    outbox: Arc<Outbox>,
    envelope: Envelope,
}

impl Writer {
    pub(super) fn new(outbox: Arc<Outbox>, envelope: Envelope) -> Self {
        Self { outbox, envelope }
    }

    /// An empty message, by which a client learns that its call has begun.
    pub(crate) fn greet(&self) {
        // A client that has left already learns nothing.
        let _ = self.outbox.push_data(self.envelope.seal(&[]));
    }
}

impl AsyncWrite for Writer {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.outbox.poll_space(context))?;
        let part = &bytes[..bytes.len().min(MESSAGE)];
        match self.outbox.push_data(self.envelope.seal(part)) {
            Ok(()) => Poll::Ready(Ok(part.len())),
            Err(_) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes() {
        assert_eq!(Envelope::Plain.seal(b"a")[..], [0x82, 1, b'a']);
        assert_eq!(Envelope::Channel(2).seal(b"a")[..], [0x82, 2, 2, b'a']);
        assert_eq!(Envelope::Channel(1).seal(b"")[..], [0x82, 1, 1]);
        assert_eq!(Envelope::Base64(1).seal(b"\n")[..], [0x81, 5, b'1', b'C', b'g', b'=', b'=']);
    }
}
