//! DHCPv4 (RFC 2131): message format, lease and client, without sockets.

pub mod client;
mod lease;
pub mod message;
#[cfg(test)]
mod tests;

pub use client::{Action, Client, Destination, Event};
pub use lease::Lease;
pub use message::Message;
