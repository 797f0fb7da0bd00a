//! PID 1 of a Lepton host, as a library: `main.rs` lists the steps, this crate holds them.
//!
//! One thread, no async runtime, no network wait: everything after the boot happens in one `poll` loop over
//! [`events::Events`].
//! Modules that decide (parsers, tables, choices) are pure and tested here; modules that act call the kernel
//! through `rustix` and `nix` and stay thin.
//! Nothing in this crate may return to the kernel: a failed required step ends in [`fail`], a request in
//! [`shutdown`].

pub mod clock;
pub mod cmdline;
pub mod console;
pub mod etc;
pub mod events;
pub mod fail;
pub mod files;
pub mod hostname;
pub mod install;
pub mod json;
pub mod kmsg;
pub mod launch;
pub mod log_files;
pub mod mountinfo;
pub mod mounts;
pub mod network;
pub mod options;
pub mod os_release;
pub mod power_key;
pub mod ready;
pub mod reap;
pub mod root;
pub mod screen;
pub mod services;
pub mod shutdown;
pub mod signals;
pub mod source;
pub mod state;
pub mod status;
pub mod stdio;
pub mod step;
pub mod sysctl;
pub mod uevent;
pub mod watchdog;

pub use lepton_disks::gpt;
