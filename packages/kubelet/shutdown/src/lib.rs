//! The part of the D-Bus system bus and of systemd-logind (`org.freedesktop.login1`) that kubelet's graceful node
//! shutdown uses, for hosts that have neither.
//!
//! kubelet asks how long a shutdown may be delayed (`InhibitDelayMaxUSec`), takes a lock (`Inhibit`, which answers with
//! a file descriptor), and waits for the signal `PrepareForShutdown`. Then it ends its pods, and closes the lock.
//!
//! ```no_run
//! # async fn host() -> std::io::Result<()> {
//! use std::time::Duration;
//! use lepton_kubelet_shutdown::Bus;
//! use tokio::time::Instant;
//!
//! let bus = Bus::listen(Bus::SOCKET.as_ref(), Duration::from_secs(60), |note| eprintln!("{note}"))?;
//! // kubelet is started with DBUS_SYSTEM_BUS_ADDRESS set to bus.address(). When the host goes down:
//! let outcome = bus.prepare(Instant::now() + Duration::from_secs(60)).await;
//! assert!(outcome.held.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! Only programs of the same user as the server are served. A client that breaks the protocol loses its connection; what
//! clients can make the server keep is bounded (connections, rules, locks, and the length of messages).

mod auth;
mod bus;
mod calls;
mod connection;
pub mod fuzz;
mod locks;
mod message;
mod names;
mod rule;
mod wire;

pub use bus::{Bus, Outcome};
pub use locks::Inhibitor;
