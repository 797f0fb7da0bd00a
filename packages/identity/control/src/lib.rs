//! The admin protocol of the identity agent: what may be asked at [`SOCKET`], what is answered, and a client.
//!
//! One JSON object per line in both directions, over a Unix stream socket that is root's alone. A request is one line
//! (`{"version":1,"request":"status"}`), its answer is one line. Nothing here decides anything. Answers may hold private
//! keys and tokens: whoever reads them sees to where they go.
#![forbid(unsafe_code)]

mod client;
mod protocol;

pub use client::{Client, ClientError};
pub use protocol::{
    Answer, BadRequest, BundleText, ErrorKind, Identity, IdentityKind, Jwt, Message, Request, ServerStatus,
    State, Status, Text, X509,
};

/// Where the agent listens.
pub const SOCKET: &str = "/run/lepton/identity/admin.sock";

/// The protocol that this crate speaks; a request of another version is refused.
pub const VERSION: u32 = 1;

/// Longest line of a request in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;

/// Longest line of an answer in bytes: some thousand identities with their keys.
pub const MAX_ANSWER: usize = 32 * 1024 * 1024;
