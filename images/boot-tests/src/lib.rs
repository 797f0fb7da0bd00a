//! Starts built images in QEMU: [`interactive`] for people, [`run`] for `cargo xtask test`, [`measure`] for figures.
//!
//! QEMU, its firmware and the servers of network boots come from a tool tree and run in its sandbox; TCG only, so
//! results do not depend on the machine. The program that uses this crate must begin with the
//! [`lepton_builder::sandbox::ENTER`] hook.

mod boots;
pub mod cluster;
pub mod console;
pub mod context;
mod field;
pub mod guest;
mod judges;
pub mod machine;
mod power_cut;
mod qemu;
pub mod qmp;
pub mod ready;
pub mod runner;

pub use boots::measure;
pub use context::{Budgets, Context, Goldens};
pub use field::Ran;
pub use guest::{Guest, interactive};
pub use machine::Machine;
pub use runner::{Peer, Selection, Summary, list, peers, run};
