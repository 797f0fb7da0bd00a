//! The streaming server of CRI: exec, attach and port-forward over WebSocket and SPDY/3.1.
//!
//! The CRI server asks [`Urls`] for an address with a token that works once, kubelet or crictl connects there, and
//! [`Server`] speaks the client's protocol to a [`Backend`]. Nothing here knows containers, gRPC or TLS.

mod backend;
mod command;
mod drive;
mod outbox;
mod pipe;
mod port_forward;
mod resize;
mod server;
pub mod spdy;
mod status;
mod tokens;
mod upgrade;
pub mod websocket;

pub use backend::{
    AttachRequest, Backend, BackendError, ClientGone, ExecRequest, ExitCode, Input, Output,
    PortForwardRequest, ResizeSender, Resizes, StreamSet, Streams, TerminalSize, resizes,
};
pub use server::{Limits, Server, ServerError};
pub use tokens::{RequestError, Urls};
