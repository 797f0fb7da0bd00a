//! What ends the program.

use std::io;
use std::path::{Path, PathBuf};

/// Why kubelet cannot be started or has ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A certificate cannot be made.
    #[error("cannot make the certificates of kubelet: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The machine config names a cluster and something of it cannot be used.
    #[error("kubelet.{key}: {message}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        message: String,
    },
    /// Several nodes would have one name.
    #[error(
        "this host has no name of its own to join a cluster with: give hostname or kubelet.node-name in the machine config"
    )]
    Nameless,
    /// Signals or the child process cannot be watched.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// For `map_err`.
pub(crate) fn file_failure(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { action, path, source }
}

/// For `map_err`.
pub(crate) fn system_failure(action: &'static str) -> impl FnOnce(io::Error) -> Failure {
    move |source| Failure::System { action, source }
}
