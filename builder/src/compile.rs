//! Compilers: sources and tools in, verified outputs of the store out. Nothing else compiles.

pub mod crates;
pub mod go;
pub mod guest;
pub mod kernel;
pub mod modules;
pub(crate) mod rust_std;
mod unwind;

use std::io;
use std::path::PathBuf;

use crate::arch::Arch;
use crate::kernel_config::LostSymbols;
use crate::lock::LockError;
use crate::process::ProcessError;
use crate::spec::SpecError;
use crate::store::StoreError;
use crate::tools::ToolsError;

/// Something could not be compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A tool failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Crates that our programs depend on could not be had.
    #[error(
        "cannot collect the crates of {folder}\nhint: cargo downloads them as this machine configures it"
    )]
    Vendor {
        /// Folder of the program.
        folder: String,
        /// What cargo said.
        source: ProcessError,
    },
    /// Modules that Go programs are made of could not be had.
    #[error(
        "cannot collect the Go modules that {folder} pins\n\
         hint: go downloads them as this machine configures it (GOPROXY), and go.sum must cover them all; \
         with --offline the store must hold them"
    )]
    Modules {
        /// Folder with `go.mod`.
        folder: PathBuf,
        /// What go said.
        source: ProcessError,
    },
    /// Go programs with C among them are for another machine than this one.
    #[error("cannot compile {name} for {arch}: it has C in it, and is for the machine that builds alone")]
    ForeignC {
        /// The set of programs.
        name: String,
        /// What they were to be for.
        arch: Arch,
    },
    /// A tool tree could not be made.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The lock does not fit.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A description is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The kernel's configuration is not what was asked for.
    #[error(transparent)]
    Config(#[from] LostSymbols),
    /// A crate's manifest cannot be used.
    #[error("cannot use {path}: {message}")]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A file of the build cannot be read or written.
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
fn file_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> CompileError {
    let path = path.into();
    move |source| CompileError::File { action, path, source }
}
