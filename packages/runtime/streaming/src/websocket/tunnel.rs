//! The stream of bytes in binary messages: what kubectl sends SPDY through when a proxy lets only WebSocket pass.

use super::connection::Messages;
use super::frame::{CloseCode, Opcode};
use crate::pipe::{End, Sender};

/// Passes the bytes of binary messages on, as if they were one stream.
#[derive(Debug)]
pub(crate) struct Tunnel(Sender);

impl Tunnel {
    pub(crate) fn new(bytes: Sender) -> Self {
        Self(bytes)
    }
}

impl Messages for Tunnel {
    fn begin(&mut self, opcode: Opcode) -> Result<(), CloseCode> {
        if opcode == Opcode::Binary { Ok(()) } else { Err(CloseCode::Unsupported) }
    }

    async fn part(&mut self, bytes: &[u8]) -> Result<(), CloseCode> {
        self.0.push(bytes).await;
        Ok(())
    }

    fn end(&mut self) -> Result<(), CloseCode> {
        Ok(())
    }

    fn lost(&mut self) {
        self.0.end(End::Eof);
    }
}
