//! Python programs that judge artifacts: pure wheels, pinned by digest, unpacked in the store.
//!
//! The machine's own pip downloads them as this machine configures it, and checks every digest; nothing is installed,
//! and nothing here runs them. They run with the tool tree's interpreter, in the sandbox. No build needs them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, KeyBuilder};
use crate::fetch::Source;
use crate::process::{Process, ProcessError};
use crate::store::StoreError;
use crate::tools::{Toolbox, ToolsError};

/// Raised when unpacking changes, so that older trees are not used.
const LAYOUT: &str = "python-tree-1";
/// The interpreter of the tool tree, for which wheels are chosen.
const PYTHON: &str = "3.13";
/// The tool set that holds the interpreter.
const TOOLS: &str = "test";
/// Unpacks the wheels named after the folder to unpack to.
const UNPACK: &str =
    "import sys, zipfile\nfor path in sys.argv[2:]: zipfile.ZipFile(path).extractall(sys.argv[1])";

/// Python programs could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PypiError {
    /// The list of wheels cannot be read, or a wheel cannot be looked at.
    #[error("cannot read {path}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine has no Python.
    #[error(
        "cannot find python3, whose pip downloads what {requirements} names\n\
         hint: install python3 and pip (Debian: python3-pip)"
    )]
    NoPython {
        /// The list of wheels.
        requirements: PathBuf,
    },
    /// `--offline`, and the wheels are not in the store.
    #[error("the store lacks what {requirements} names\nhint: run once without --offline")]
    Offline {
        /// The list of wheels.
        requirements: PathBuf,
    },
    /// pip did not give them all.
    #[error(
        "cannot download what {requirements} names\n\
         hint: pip downloads it as this machine configures it (Debian: python3-pip); every line needs its --hash"
    )]
    Download {
        /// The list of wheels.
        requirements: PathBuf,
        /// What pip said.
        source: ProcessError,
    },
    /// A wheel cannot be unpacked.
    #[error("cannot unpack the wheels that {requirements} names")]
    Unpack {
        /// The list of wheels.
        requirements: PathBuf,
        /// What the interpreter said.
        source: ProcessError,
    },
    /// The tool tree with the interpreter could not be made.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A folder for `PYTHONPATH` with every wheel that the file `requirements` names (pip's format, each line with its
/// version and digests), downloading them by the machine's `python` when they are not in the store.
pub fn python_tree(
    requirements: &Path,
    python: Option<&Path>,
    toolbox: &Toolbox<'_>,
) -> Result<PathBuf, PypiError> {
    let text = read(requirements, fs::read_to_string)?;
    let key = key(&text);
    if let Some(tree) = toolbox.store.tree(key) {
        return Ok(tree);
    }
    let _lock = toolbox.store.lock(&format!("tree-{key}"))?;
    if let Some(tree) = toolbox.store.tree(key) {
        return Ok(tree);
    }
    let named = || requirements.to_owned();
    if matches!(toolbox.source, Source::Offline) {
        return Err(PypiError::Offline { requirements: named() });
    }
    let python = python.ok_or_else(|| PypiError::NoPython { requirements: named() })?;
    let wheels = toolbox.store.scratch("wheels")?;
    let step = toolbox.progress.step("download wheels", None);
    download(requirements, python, wheels.path())
        .run(|_| step.advance(1))
        .map_err(|source| PypiError::Download { requirements: named(), source })?;
    step.finish();
    let tree = toolbox.store.scratch("python")?;
    let mut unpack = toolbox.tree(TOOLS)?.program("python3").writable(tree.path(), "/tree");
    unpack = unpack.read_only(wheels.path(), "/wheels").args(["-c", UNPACK, "/tree"]);
    let listed = walkdir::WalkDir::new(wheels.path()).min_depth(1).sort_by_file_name();
    for wheel in listed {
        let wheel = wheel
            .map_err(|error| PypiError::Read { path: wheels.path().to_owned(), source: error.into() })?;
        unpack = unpack.arg(format!("/wheels/{}", wheel.file_name().to_string_lossy()));
    }
    unpack.run(|_| {}).map_err(|source| PypiError::Unpack { requirements: named(), source })?;
    Ok(toolbox.store.add_tree(tree, key)?)
}

/// Comments may change without another download.
fn key(requirements: &str) -> Digest {
    let lines: Vec<&str> = requirements.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    KeyBuilder::new(LAYOUT).with("python", PYTHON).with("requirements", lines.join("\n")).finish()
}

/// Only wheels without compiled code: they run on every machine, and no setup program of theirs runs on this one.
fn download(requirements: &Path, python: &Path, to: &Path) -> Process {
    Process::new(python)
        .inherit_env()
        .args(["-m", "pip", "download", "--quiet", "--require-hashes", "--no-deps"])
        .args(["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none"])
        .arg(format!("--python-version={PYTHON}"))
        .arg("--dest")
        .arg(to)
        .arg("--requirement")
        .arg(requirements)
}

fn read<T>(path: &Path, action: impl FnOnce(PathBuf) -> io::Result<T>) -> Result<T, PypiError> {
    action(path.to_owned()).map_err(|source| PypiError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_changes_nothing_and_a_digest_does() {
        let plain = "six==1 --hash=sha256:00\n";
        assert_eq!(key(plain), key("# why\nsix==1 --hash=sha256:00\n"));
        assert_ne!(key(plain), key("six==1 --hash=sha256:01\n"));
    }

    #[test]
    fn only_pinned_pure_wheels_are_asked_for() {
        let shown = format!("{:?}", download(Path::new("r.txt"), Path::new("/python3"), Path::new("/to")));
        for flag in ["--require-hashes", "--no-deps", "--only-binary=:all:", "--abi=none"] {
            assert!(shown.contains(flag), "{shown}");
        }
    }
}
