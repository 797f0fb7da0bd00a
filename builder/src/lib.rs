//! From an image description to artifacts.

pub mod apt;
pub mod arch;
pub mod cmdline;
pub mod compile;
pub mod date;
pub mod deb;
pub mod digest;
pub mod fetch;
pub mod host;
pub mod kernel_config;
pub mod lock;
pub mod lock_update;
pub mod mirror;
pub mod name;
pub mod plan;
pub mod process;
pub mod progress;
pub mod sandbox;
pub mod spec;
pub mod store;
pub mod suggest;
pub mod tools;
