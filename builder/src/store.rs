//! The content-addressed store: downloaded files, unpacked trees and finished outputs.
//!
//! An entry appears whole, by rename, or not at all; two builds may share one store at once.
//! Downloads and outputs are checked against their digests each time before they are used.
//! Outputs that are missing may come from another store (`substitute.rs`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::scratch::Scratch;
use crate::substitute::Substitute;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

/// Name of the digest list inside an output.
pub(crate) const OUTPUT_LIST: &str = "output.json";

/// A store folder.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    substitute: Option<Arc<Substitute>>,
}

/// A store that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct StoreError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Held while one build makes an entry; others wait.
#[derive(Debug)]
pub struct EntryLock {
    _file: Flock<File>,
}

/// A finished result: a folder whose files match their digests.
#[derive(Clone, Debug)]
pub struct Output {
    dir: PathBuf,
    files: BTreeMap<String, FileFacts>,
}

/// What the store remembers of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFacts {
    /// Digest of its bytes.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
}

impl StoreError {
    pub(crate) fn new(action: &'static str, path: PathBuf, source: io::Error) -> Self {
        Self { action, path, source }
    }
}

impl Store {
    /// Opens the store at `root`, making its folders.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for dir in ["blobs", "trees", "outputs", "locks", "work"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).map_err(|source| StoreError { action: "make", path, source })?;
        }
        let root =
            root.canonicalize().map_err(|source| StoreError { action: "open", path: root.into(), source })?;
        Ok(Self { root, substitute: None })
    }

    /// The same store, which takes outputs that it lacks from another one.
    pub fn with_substitute(mut self, substitute: Substitute) -> Self {
        self.substitute = Some(Arc::new(substitute));
        self
    }

    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where the download with this digest lies, or would lie.
    pub fn blob_path(&self, sha256: Digest) -> PathBuf {
        self.root.join("blobs").join(sha256.to_string())
    }

    /// The download with this digest, if it is here and undamaged; a damaged one is removed.
    pub fn blob(&self, sha256: Digest, size: u64) -> Result<Option<PathBuf>, StoreError> {
        let path = self.blob_path(sha256);
        match Digest::of_file(&path) {
            Ok(found) if found == (sha256, size) => Ok(Some(path)),
            Ok(_) => {
                remove(&path)?;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StoreError { action: "read", path, source }),
        }
    }

    /// Takes over a downloaded file whose digest the caller has checked.
    pub fn add_blob(&self, file: &Path, sha256: Digest) -> Result<PathBuf, StoreError> {
        let path = self.blob_path(sha256);
        rename(file, &path)?;
        Ok(path)
    }

    /// Waits until no other build makes the entry `name`.
    pub fn lock(&self, name: &str) -> Result<EntryLock, StoreError> {
        let path = self.root.join("locks").join(name);
        let open = File::create(&path).map_err(|source| StoreError {
            action: "make",
            path: path.clone(),
            source,
        })?;
        let file = Flock::lock(open, FlockArg::LockExclusive).map_err(|(_, error)| StoreError {
            action: "lock",
            path,
            source: error.into(),
        })?;
        Ok(EntryLock { _file: file })
    }

    /// A scratch folder in the store's file system, removed when dropped.
    pub fn scratch(&self, label: &str) -> Result<Scratch, StoreError> {
        let dir = self.root.join("work");
        Scratch::new_in(&dir, &format!("{label}-")).map_err(|source| StoreError {
            action: "make a folder in",
            path: dir,
            source,
        })
    }

    /// A folder that outlives a build, for what a tool caches itself (cargo's target folder).
    pub fn cache(&self, label: &str) -> Result<PathBuf, StoreError> {
        let path = self.root.join("work").join(format!("cache-{label}"));
        fs::create_dir_all(&path).map_err(|source| StoreError {
            action: "make",
            path: path.clone(),
            source,
        })?;
        Ok(path)
    }

    /// Where the unpacked tree with this key lies, if it is there.
    pub fn tree(&self, key: Digest) -> Option<PathBuf> {
        let path = self.root.join("trees").join(key.to_string());
        path.is_dir().then_some(path)
    }

    /// Takes over a finished tree.
    pub fn add_tree(&self, dir: Scratch, key: Digest) -> Result<PathBuf, StoreError> {
        let path = self.root.join("trees").join(key.to_string());
        make_readable(dir.path())?;
        dir.rename_to(&path).map_err(|source| StoreError { action: "make", path: path.clone(), source })?;
        Ok(path)
    }

    /// The finished output with this key, if it is here or can be taken from the substitute.
    pub fn output(&self, key: Digest) -> Result<Option<Output>, StoreError> {
        match (self.own_output(key)?, &self.substitute) {
            (None, Some(substitute)) => substitute.output(self, key),
            (output, _) => Ok(output),
        }
    }

    /// The finished output with this key, if it is here and every file matches; a damaged one is removed.
    pub(crate) fn own_output(&self, key: Digest) -> Result<Option<Output>, StoreError> {
        let dir = self.root.join("outputs").join(key.to_string());
        let Ok(list) = fs::read(dir.join(OUTPUT_LIST)) else {
            return if dir.exists() { remove_dir(&dir).map(|()| None) } else { Ok(None) };
        };
        let files: Option<BTreeMap<String, FileFacts>> = serde_json::from_slice(&list).ok();
        let matches = |files: &BTreeMap<String, FileFacts>| {
            files.iter().all(|(name, facts)| {
                Digest::of_file(&dir.join(name)).is_ok_and(|found| found == (facts.sha256, facts.size))
            })
        };
        match files {
            Some(files) if matches(&files) => Ok(Some(Output { dir, files })),
            _ => remove_dir(&dir).map(|()| None),
        }
    }

    /// Takes over the files of a finished output.
    pub fn add_output(&self, dir: Scratch, key: Digest) -> Result<Output, StoreError> {
        let mut files = BTreeMap::new();
        for entry in walkdir::WalkDir::new(dir.path()).sort_by_file_name() {
            let fail = |source| StoreError { action: "list", path: dir.path().into(), source };
            let entry = entry.map_err(|error| fail(error.into()))?;
            if entry.file_type().is_file() {
                let name = entry.path().strip_prefix(dir.path()).unwrap_or(entry.path());
                let (sha256, size) = Digest::of_file(entry.path()).map_err(fail)?;
                files.insert(name.to_string_lossy().into_owned(), FileFacts { sha256, size });
            }
        }
        let list = serde_json::to_vec_pretty(&files).expect("names and numbers serialize");
        let list_path = dir.path().join(OUTPUT_LIST);
        fs::write(&list_path, list).map_err(|source| StoreError {
            action: "write",
            path: list_path,
            source,
        })?;
        make_readable(dir.path())?;
        let path = self.root.join("outputs").join(key.to_string());
        // Another build may have made or taken the same entry meanwhile, and may be reading it.
        if let Some(output) = self.own_output(key)? {
            return Ok(output);
        }
        dir.rename_to(&path).map_err(|source| StoreError { action: "make", path: path.clone(), source })?;
        Ok(Output { dir: path, files })
    }
}

impl Output {
    /// The path of one file of the output.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder that holds the files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Digest and size of one file.
    pub fn facts(&self, name: &str) -> Option<FileFacts> {
        self.files.get(name).copied()
    }
}

/// Temporary folders are private; entries of a shared store are not.
fn make_readable(dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).map_err(|source| StoreError {
        action: "open up",
        path: dir.into(),
        source,
    })
}

fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| StoreError { action: "make", path: to.into(), source })
}

fn remove(path: &Path) -> Result<(), StoreError> {
    fs::remove_file(path).map_err(|source| StoreError {
        action: "remove the damaged",
        path: path.into(),
        source,
    })
}

fn remove_dir(path: &Path) -> Result<(), StoreError> {
    fs::remove_dir_all(path).map_err(|source| StoreError {
        action: "remove the damaged",
        path: path.into(),
        source,
    })
}
