//! OCI images on a host: registries, contents, snapshots.
//!
//! `Images` is all that the CRI server needs: it pulls, imports, lists and removes images and prepares the folders that a
//! container's overlayfs is mounted from. It never mounts anything, starts no process and knows nothing of containers.
//! Whatever comes from a registry or an archive is hostile until its digest and its form are verified.

mod config;
mod digest;
mod error;
mod images;
mod record;
mod reference;
mod users;

pub use config::{Config, Devices, Endpoint, Limits, Platform, Proxies, RegistryConfig};
pub use digest::{Digest, DigestError};
pub use error::{Error, ErrorKind};
pub use images::Images;
pub use record::{
    Collected, Credentials, FsUsage, ImageConfig, ImageRecord, Imported, Pulled, Snapshot, Source, Usage,
};
pub use reference::{Reference, ReferenceError};
pub use users::{Identity, UserError, Users};
