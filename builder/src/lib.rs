//! From an image description to artifacts.

pub mod apt;
pub mod arch;
pub mod date;
pub mod deb;
pub mod digest;
pub mod fetch;
pub mod host;
pub mod lock;
pub mod lock_update;
pub mod mirror;
pub mod process;
pub mod progress;
pub mod sandbox;
pub mod store;
pub mod suggest;
pub mod tools;
