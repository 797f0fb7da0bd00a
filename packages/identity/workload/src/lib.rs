//! The SPIFFE Workload API on a Unix socket, and who its callers are.
//!
//! [`Identities`] stands between the server and the agent: the server finds out who calls ([`attest`]), and asks for the
//! identities of those selectors. [`Observer`] is told of every call.

pub mod attest;
mod connection;
mod control;
pub mod delivery;
#[doc(hidden)]
pub mod fuzz;
mod host;
mod identities;
mod listen;
mod messages;
mod observer;
mod origin;
mod peer;
mod record;
mod server;
mod service;
mod slots;
mod sys;
mod updates;

pub use host::{FileId, Host};
pub use identities::{Identities, JwtError, View};
pub use observer::{Caller, Event, Observer};
pub use origin::Origin;
pub use server::{SOCKET, Server, ServerError, Settings};
