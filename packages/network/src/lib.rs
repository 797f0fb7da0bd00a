//! Links, addresses, names and time of a Lepton host.
//!
//! State machines (`dhcp4`, `dhcp6`, `ra`, `ntp`, `plan`, `reconcile`) are pure: they are given the time and what was
//! received, and say what to send and what should be. Sockets are opened by `kernel`, `wire` and `ntp::exchange` only.
//! Nothing here waits: one loop (`daemon`) polls every socket.

pub mod address;
pub mod daemon;
pub mod dhcp4;
pub mod dhcp6;
pub mod hostname;
pub mod kernel;
pub mod link_runner;
pub mod ntp;
pub mod plan;
pub mod ra;
pub mod random;
pub mod reconcile;
pub mod report;
pub mod resolv;
pub mod settings;
pub mod time;
pub mod wire;
