//! OCI images on a host: registries, contents, snapshots.
//!
//! `Images` is all that the CRI server needs: it pulls, imports, lists and removes images and prepares the folders that a
//! container's overlayfs is mounted from. It never mounts anything, starts no process and knows nothing of containers.
//! Whatever comes from a registry or an archive is hostile until its digest and its form are verified.

mod blobs;
mod clock;
mod collect;
mod config;
mod digest;
mod disk;
mod error;
#[doc(hidden)]
pub mod fuzz;
mod images;
mod import;
mod layer;
mod layers;
mod manifest;
mod mount;
mod pull;
mod record;
mod reference;
mod registry;
mod snapshots;
mod state;
mod store;
mod users;
pub mod within;

pub use blobs::ContentError;
pub use config::{Config, Devices, Endpoint, Limits, Platform, Proxies, RegistryConfig};
pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use images::Images;
pub use import::ImportError;
pub use layer::{LayerError, TarError};
pub use manifest::ManifestError;
pub use mount::overlay;
pub use record::{
    Collected, Credentials, FsUsage, ImageConfig, ImageRecord, Imported, Pulled, Snapshot, Source, Usage,
};
pub use reference::{Reference, ReferenceError};
pub use registry::RegistryError;
pub use users::{Identity, UserError, Users};
