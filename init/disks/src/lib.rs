//! Disks as a host sees them: which there are (`list`), which one a person means (`choose`), which one the system was
//! started from (`loader`), what their partition tables say (`gpt`), growing their last partition (`grow`), and what the
//! kernel is told about them (`sys`).
//!
//! PID 1 and the installer share this. It must not know what lies in a partition.

pub mod choose;
pub mod gpt;
pub mod grow;
pub mod list;
pub mod loader;
pub mod sys;
