//! Image formats as functions of bytes.
//!
//! Nothing here reads the clock, starts a process, opens a socket or parses TOML. A format takes
//! `Content` and parameters and gives a `Sparse` image, or writes a stream.
#![forbid(unsafe_code)]

pub mod content;
pub mod cpio;
pub mod seed;
pub mod sparse;
pub mod uki;

pub use content::Content;
pub use seed::Seed;
pub use sparse::Sparse;
