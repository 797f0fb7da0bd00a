//! The errors of this crate and the class that each belongs to; CRI's server turns a class into a gRPC code.

use std::path::PathBuf;

use crate::digest::Digest;
use crate::reference::ReferenceError;

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
    /// A snapshot uses the image.
    #[error("image {image} is in use by snapshot {key:?}: remove the container first")]
    InUse {
        /// The image.
        image: Digest,
        /// One of the snapshots.
        key: String,
    },
    /// Another process has the root folder.
    #[error("{path} is in use by another process: one runtime at a time has the images", path = .0.display())]
    Locked(PathBuf),
}

impl Error {
    /// Its class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Reference(_) | Self::Ambiguous { .. } => ErrorKind::InvalidArgument,
            Self::NoImage(_) => ErrorKind::NotFound,
            Self::InUse { .. } => ErrorKind::FailedPrecondition,
            Self::Locked(_) => ErrorKind::Unavailable,
        }
    }
}
