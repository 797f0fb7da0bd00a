//! One layer: its blob is decompressed, hashed and unpacked in one pass into a folder that overlayfs can use as a lower one.
//! Whoever calls this decides where the folder lies and gives it its name only afterwards.

mod apply;
mod attributes;
mod decompress;
mod merged;
mod metered;
mod pax;
pub(crate) mod tar;
#[cfg(test)]
pub(crate) mod test_archive;

use std::io::{self, Read};
use std::os::fd::OwnedFd;

pub(crate) use decompress::decompressed;
pub(crate) use metered::Exceeded;
pub use tar::TarError;

use crate::config::{Devices, Limits};
use crate::digest::Digest;

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// A name that leads upwards.
    #[error("{path:?} has a component `..`")]
    Upwards {
        /// Which.
        path: String,
    },
    /// A name that only whiteouts have.
    #[error("{path:?} has a reserved name: `.wh.` marks what a layer removes")]
    Reserved {
        /// Which.
        path: String,
    },
    /// The root of the layer as something else than a folder.
    #[error("the archive replaces the root by something that is no folder")]
    Root,
    /// A part of the path is no folder.
    #[error("{path:?}: {part:?} is no folder")]
    NotAFolder {
        /// Which.
        path: String,
        /// The part.
        part: String,
    },
    /// Symbolic links that lead to each other.
    #[error("{path:?} goes through more than 40 symbolic links")]
    Loop {
        /// Which.
        path: String,
    },
    /// A path that is too long once its links are followed.
    #[error("{path:?} is longer than a path can be once its links are followed")]
    Deep {
        /// Which.
        path: String,
    },
    /// A hard link to what is not there, or is a folder.
    #[error("{path:?} is a hard link to {target:?}, which is {is} the image")]
    HardLink {
        /// Which.
        path: String,
        /// Its target.
        target: String,
        /// `not in` or `a folder of`.
        is: &'static str,
    },
    /// A device node that the settings refuse.
    #[error("{path:?} is a device node, which the settings of this host refuse")]
    Device {
        /// Which.
        path: String,
    },
    /// The device that overlayfs takes for a whiteout.
    #[error("{path:?} is the character device 0:0, which overlayfs takes for a removed file")]
    OverlayDevice {
        /// Which.
        path: String,
    },
    /// More folders than can be remembered.
    #[error("the names of the layer's folders take more than {limit} bytes")]
    Folders {
        /// The limit.
        limit: usize,
    },
    /// The file system.
    #[error("cannot {what} {path:?}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// The content is not what the image's configuration names.
    #[error("the unpacked layer has digest {found}; the image's configuration says {wanted}")]
    DiffId {
        /// As the configuration says.
        wanted: Digest,
        /// As it is.
        found: Digest,
    },
}

impl LayerError {
    /// The limit that was exceeded, if that is what happened.
    pub(crate) fn exceeded(&self) -> Option<&Exceeded> {
        match self {
            Self::Tar(TarError::Read(error)) | Self::File { source: error, .. } => {
                error.get_ref().and_then(|inner| inner.downcast_ref())
            }
            _ => None,
        }
    }

    /// Whether the disk is full.
    pub(crate) fn is_full(&self) -> bool {
        let Self::File { source, .. } = self else { return false };
        matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }
}

/// What a layer may do.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    pub(crate) limits: Limits,
    pub(crate) devices: Devices,
}

/// Unpacks a layer into an empty folder. `lower` are the folders of the layers below it, the uppermost first: a layer may
/// add to a folder that only they have, or link to a file of theirs.
pub(crate) fn unpack(
    blob: impl Read + Send,
    size: u64,
    diff_id: Digest,
    upper: OwnedFd,
    lower: Vec<OwnedFd>,
    rules: &Rules,
) -> Result<(), LayerError> {
    let found = metered::piped(blob, size, &rules.limits, |stream| apply(stream, upper, lower, rules))?;
    if found == diff_id { Ok(()) } else { Err(LayerError::DiffId { wanted: diff_id, found }) }
}

/// Applies an archive that is not compressed.
pub(crate) fn apply(
    stream: impl Read,
    upper: OwnedFd,
    lower: Vec<OwnedFd>,
    rules: &Rules,
) -> Result<(), LayerError> {
    let mut archive = tar::Archive::new(stream, rules.limits.header, rules.limits.entries);
    let mut target = apply::Target::new(merged::Merged::new(upper, lower), rules.devices);
    while let Some(entry) = archive.next()? {
        target.apply(&entry, &mut archive)?;
    }
    archive.drain()?;
    target.finish()
}

/// Foreign bytes for an error message.
fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).chars().take(200).collect()
}

#[cfg(test)]
#[path = "hostile_tests.rs"]
mod hostile_tests;
#[cfg(test)]
#[path = "layer_tests.rs"]
mod layer_tests;
