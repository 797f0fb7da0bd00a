//! The management API of a Lepton host, `lepton.host.v1.Host` (docs/api.md).
//!
//! On the network it speaks TLS 1.3 alone, and everybody shows a certificate: a SPIFFE ID with a role. Every request passes
//! one gate (`gate.rs`), which asks the table of roles. On the host itself, the user root has a socket. What the API shows and
//! does is up to PID 1, the container runtime, kubelet and the kernel: nothing is kept here.
#![forbid(unsafe_code)]

mod audit;
mod caller;
mod cgroups;
mod clock;
mod connection;
mod deadline;
mod feed;
pub mod fuzz;
mod gate;
mod handshakes;
mod identity;
mod listen;
mod log;
mod methods;
mod pid1;
mod places;
mod procfs;
mod program;
mod record;
mod server;
mod settings;
#[cfg(test)]
mod testing;
mod tls;
pub mod trust;
mod trusted;
mod watch;

pub use places::{Places, USAGE};
pub use program::main;
pub use server::{ServerError, run};
