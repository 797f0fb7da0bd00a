//! Image formats as functions of bytes.
//!
//! Nothing here reads the clock, starts a process, opens a socket or parses TOML. A format takes
//! `Content` and parameters and gives a `Sparse` image, or writes a stream.
#![forbid(unsafe_code)]

#[cfg(feature = "artifacts")]
mod blocks;
pub mod content;
#[cfg(feature = "artifacts")]
pub mod cpio;
pub mod disk;
pub mod fat;
pub mod gpt;
#[cfg(feature = "artifacts")]
pub mod iso;
#[cfg(feature = "artifacts")]
pub mod ova;
#[cfg(feature = "artifacts")]
pub mod ovf;
#[cfg(feature = "artifacts")]
pub mod qcow2;
pub mod seed;
pub mod simg;
pub mod sparse;
#[cfg(feature = "uki")]
pub mod uki;
#[cfg(feature = "artifacts")]
pub mod vmdk;
#[cfg(feature = "artifacts")]
mod xml;

pub use content::Content;
pub use seed::Seed;
pub use sparse::Sparse;
