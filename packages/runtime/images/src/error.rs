//! The errors of this crate and the class that each belongs to; CRI's server turns a class into a gRPC code.

use std::io;
use std::path::{Path, PathBuf};

use crate::blobs::ContentError;
use crate::digest::Digest;
use crate::import::ImportError;
use crate::layer::LayerError;
use crate::manifest::ManifestError;
use crate::reference::ReferenceError;
use crate::registry::RegistryError;

/// The class of an error, named after the gRPC code that it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// No such image, snapshot, manifest or user.
    NotFound,
    /// The request, image or archive is wrong, and would be again.
    InvalidArgument,
    /// The registry wants (other) credentials.
    Unauthenticated,
    /// The registry refuses these credentials the image.
    PermissionDenied,
    /// The registry cannot be reached or does not answer as it should; later may be better.
    Unavailable,
    /// It took too long.
    DeadlineExceeded,
    /// A limit, or the disk is full.
    ResourceExhausted,
    /// It exists already, or is in use.
    FailedPrecondition,
    /// Bytes are not those that their digest names.
    DataLoss,
    /// The host's file system failed.
    Internal,
}

/// Anything that goes wrong with images.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is no reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A manifest, index or configuration.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A blob.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// A layer.
    #[error("layer {diff_id}: {source}")]
    Layer {
        /// Which.
        diff_id: Digest,
        /// Why not.
        source: LayerError,
    },
    /// An archive or layout.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// No image of that name.
    #[error("no image {0:?} on this host")]
    NoImage(String),
    /// A short ID that several images begin with.
    #[error("{name:?} is the beginning of {count} image IDs: give more digits")]
    Ambiguous {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// A layer that should be there.
    #[error("the unpacked layer with chain ID {0} is gone: pull the image again")]
    NoLayer(Digest),
    /// A name that no snapshot can have.
    #[error(
        "{0:?} is no key of a snapshot: 1 to 128 letters, digits, `_`, `.` and `-`, not beginning with `.`"
    )]
    Key(String),
    /// No snapshot of that name.
    #[error("no snapshot {0:?} on this host")]
    NoSnapshot(String),
    /// The key is taken.
    #[error("snapshot {key:?} exists already, for image {image}")]
    OtherSnapshot {
        /// Which.
        key: String,
        /// Its image.
        image: Digest,
    },
    /// Another process has the root folder.
    #[error("{path} is in use by another process: one runtime at a time has the images", path = .0.display())]
    Locked(PathBuf),
    /// The disk.
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime of the process is ending.
    #[error("the work was given up because the process ends")]
    Ending,
}

impl Error {
    pub(crate) fn disk(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Disk { what, path: path.to_owned(), source }
    }

    /// Its class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference(_) | Self::Ambiguous { .. } | Self::Manifest(_) | Self::Key(_) => {
                ErrorKind::InvalidArgument
            }
            Self::Registry(error) => error.kind(),
            Self::Content(error) => of_content(error),
            Self::Layer { source, .. } => match source {
                source if source.exceeded().is_some() => ErrorKind::ResourceExhausted,
                source if source.is_full() => ErrorKind::ResourceExhausted,
                LayerError::DiffId { .. } => ErrorKind::DataLoss,
                LayerError::File { .. } => ErrorKind::Internal,
                _ => ErrorKind::InvalidArgument,
            },
            Self::Import(ImportError::Content(error)) => of_content(error),
            Self::Import(ImportError::Open { .. } | ImportError::NoImage { .. }) => ErrorKind::NotFound,
            Self::Import(_) => ErrorKind::InvalidArgument,
            Self::NoImage(_) | Self::NoSnapshot(_) => ErrorKind::NotFound,
            Self::OtherSnapshot { .. } | Self::NoLayer(_) => ErrorKind::FailedPrecondition,
            Self::Locked(_) | Self::Ending => ErrorKind::Unavailable,
            Self::Disk { source, .. } => of_disk(source),
        }
    }
}

fn of_content(error: &ContentError) -> ErrorKind {
    match error {
        ContentError::Digest { .. } | ContentError::Size { .. } => ErrorKind::DataLoss,
        ContentError::Missing(_) => ErrorKind::NotFound,
        ContentError::TooLarge { .. } => ErrorKind::ResourceExhausted,
        ContentError::Disk { source, .. } => of_disk(source),
    }
}

fn of_disk(error: &io::Error) -> ErrorKind {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
        _ => ErrorKind::Internal,
    }
}
