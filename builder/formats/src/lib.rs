//! Image formats as functions of bytes.
//!
//! Nothing here reads the clock, starts a process, opens a socket or parses TOML. A format takes
//! `Content` and parameters and gives a `Sparse` image, or writes a stream.
#![forbid(unsafe_code)]

mod blocks;
pub mod content;
pub mod cpio;
pub mod disk;
pub mod fat;
pub mod gpt;
pub mod iso;
pub mod ova;
pub mod ovf;
pub mod qcow2;
pub mod seed;
pub mod sparse;
pub mod uki;
pub mod vmdk;
mod xml;

pub use content::Content;
pub use seed::Seed;
pub use sparse::Sparse;
