//! File systems and the initrd: the parts that every artifact is made of.

pub mod erofs;
pub mod ext4;
pub mod initrd;

use std::io;
use std::path::PathBuf;

use lepton_formats::cpio::CpioError;
use lepton_formats::simg::SimgError;

use crate::process::ProcessError;
use crate::store::StoreError;
use crate::tools::ToolsError;

/// A part could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// A tool failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A tool tree could not be made.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file system made before cannot be read.
    #[error(transparent)]
    Sparse(#[from] SimgError),
    /// The initrd cannot hold the files.
    #[error("cannot write the initrd")]
    Cpio(#[from] CpioError),
    /// A file system does not give back what was put into it.
    #[error(
        "the root file system gives other bytes for {path} than were put into it\n\
             hint: this is a fault of the tool that packs it; please report it with the plan of the image"
    )]
    Unlike {
        /// The file, in the image.
        path: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes an error of a file operation.
fn file_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> PackError {
    let path = path.into();
    move |source| PackError::File { action, path, source }
}

/// A UUID as tools take it on the command line.
pub(crate) fn hyphenated(uuid: [u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
