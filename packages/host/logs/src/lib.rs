//! The log shipper of a Lepton host: lines of services, of the kernel and of containers, to destinations of the machine config.
//!
//! ```text
//! files, PID 1 -> source/ -> intake.rs -> buffer/ -> send/ -> destinations
//!                 lines      a thread     segments   tasks
//! ```
//!
//! Nobody who writes a log is ever kept waiting: what a destination does not take waits in its buffer, what has no room there is
//! dropped and counted, and the stream says so. docs/logs.md has the units, the bounds and the formats.

pub mod buffer;
pub mod clock;
pub mod format;
pub mod frame;
pub mod fuzz;
pub mod intake;
pub mod metrics;
mod program;
pub mod record;
pub mod say;
pub mod send;
pub mod settings;
pub mod source;
mod sys;

pub use program::main;
