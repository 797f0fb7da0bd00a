//! SPDY/3.1 (the SPDY/3 draft with the session window of 3.1), as far as Kubernetes' clients use it: the server's side of
//! streams that clients open. No push, no priorities, no credentials.

mod connection;
mod dictionary;
pub mod frame;
pub mod headers;
mod session;
mod stream;

pub(crate) use connection::{Connection, serve};
pub(crate) use frame::ResetReason;
pub(crate) use stream::{Incoming, Writer};
