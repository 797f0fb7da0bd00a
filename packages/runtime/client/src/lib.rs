//! What command lines of a host need of the container runtime: CRI's calls, the logs of containers, conversations with
//! programs in them, and how all that is shown.
//!
//! `lepton-ctr` and `lepton-pods` are made of it. Nothing here decides what happens to a container.

pub mod client;
pub mod failure;
pub mod follow;
pub mod log;
pub mod position;
pub mod rotation;
pub mod session;
pub mod status;
pub mod table;
pub mod terminal;
pub mod watch;
pub mod websocket;
