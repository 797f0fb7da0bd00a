//! The control protocol of PID 1: what may be asked at [`SOCKET`], what is answered, and a client.
//!
//! One JSON object per line in both directions, over a Unix stream socket. A request is one line; its answer is one
//! line, but for logs, where a line for each record comes and then [`Answer::End`], and for [`Request::Watch`]. Nothing here decides anything: what a
//! request does is up to PID 1, and who may send it is known by the credentials of the socket.

mod answer;
mod client;
mod config;
mod request;
mod stopping;

pub use answer::{
    Answer, Change, ConfigStatus, ErrorKind, LogLine, Memory, Phase, ServiceState, ServiceStatus,
    StateStatus, Status,
};
pub use client::{Client, ClientError};
pub use config::{ConfigChange, ConfigProblem, Difference, Effect, HostConfig, Trial};
pub use request::{BadRequest, LogName, Message, Request};
pub use stopping::Stopping;

/// Where PID 1 listens.
pub const SOCKET: &str = "/run/lepton/control.sock";

/// The protocol that this crate speaks; a request of another version is refused.
pub const VERSION: u32 = 1;

/// Longest line of a request in bytes: a machine config and its escapes.
pub const MAX_REQUEST: usize = 256 * 1024;

/// Longest line of an answer in bytes.
pub const MAX_ANSWER: usize = 1024 * 1024;
