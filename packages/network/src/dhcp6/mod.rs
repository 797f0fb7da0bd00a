//! DHCPv6 (RFC 8415): message format, lease and client, without sockets. One address per link (IA_NA), or
//! configuration without addresses; no prefixes.

pub mod client;
mod lease;
pub mod message;
#[cfg(test)]
mod tests;

pub use client::{Action, Client, Event, Mode};
pub use lease::Lease;
pub use message::Message;
