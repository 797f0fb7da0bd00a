//! The time: an NTP client (RFC 5905, the client's part) that steps the clock once and steers it from then on.

pub mod client;
pub mod clock;
pub mod discipline;
pub mod exchange;
pub mod packet;
pub mod resolve;
pub mod select;

pub use client::Status;
pub use clock::{Clock, SystemClock};
pub use exchange::Ntp;
