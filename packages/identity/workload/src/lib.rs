//! The SPIFFE Workload API on a Unix socket, and who its callers are.
//!
//! [`Identities`] stands between the server and the agent: the server finds out who calls and asks for the identities of
//! those selectors.

mod identities;
mod observer;

pub use identities::{Identities, JwtError, View};
pub use observer::{Caller, Event, Observer};
