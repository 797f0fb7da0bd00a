//! WebSocket (RFC 6455), the server's side, with the subprotocols of Kubernetes on top of it.
//! No extensions: Kubernetes' clients ask for none, and compressing what containers write is not worth its memory.

pub(crate) mod channels;
mod connection;
pub mod frame;
pub(crate) mod handshake;
pub(crate) mod tunnel;
mod writer;

pub(crate) use connection::serve;
pub(crate) use writer::{Envelope, Writer};
