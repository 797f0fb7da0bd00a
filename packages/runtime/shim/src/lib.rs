//! The process that keeps one pod's containers while the runtime is away, and what the runtime says to it.
//!
//! One single-threaded process per pod: it is the parent of the containers' first processes, holds their pipes,
//! terminals and logs, and writes down how they ended. It must not know what a container is for, and must not need
//! the runtime: it goes on when that is killed or replaced.

pub mod connection;
pub mod log;
pub mod namespaces;
pub mod pod;
pub mod protocol;
pub mod serve;
mod sys;
pub mod time;
