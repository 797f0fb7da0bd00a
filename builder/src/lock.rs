//! `packages.lock`: every Debian package a build may use, by name, version, size and digest.
//!
//! Reading it never asks the network whether it is current; only `cargo xtask lock --update` writes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};

/// File name at the top of the repository.
pub const FILE_NAME: &str = "packages.lock";

/// The parsed lock.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Seconds since 1970 of the newest archive index the lock was made from: the date that artifacts carry.
    pub date: u64,
    /// Which packages each tool set holds: host architecture -> set -> package ids.
    pub sets: BTreeMap<Arch, BTreeMap<String, Vec<PackageId>>>,
    /// Which Debian packages a recipe takes files from: architecture of the image -> recipe -> package ids.
    #[serde(default)]
    pub guest: BTreeMap<Arch, BTreeMap<String, Vec<PackageId>>>,
    /// Every package, by id.
    pub packages: BTreeMap<PackageId, LockedPackage>,
}

/// `name:architecture`, as dpkg writes it (`gcc-14:amd64`, `linux-source-6.12:all`).
pub type PackageId = String;

/// One pinned file of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    /// Debian version.
    pub version: String,
    /// Which archive of the mirror.
    pub archive: Archive,
    /// Path below the archive's address.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the file.
    pub sha256: Digest,
}

/// The archives of a Debian mirror.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Archive {
    /// The main archive.
    Debian,
    /// Security updates.
    DebianSecurity,
}

/// A lock that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// The file cannot be read or written.
    #[error("cannot read {path}")]
    Read {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not a lock.
    #[error("cannot understand {path}: {message}\nhint: the file is written by `cargo xtask lock --update`")]
    Parse {
        /// The lock file.
        path: PathBuf,
        /// Line, column and reason.
        message: String,
    },
    /// A set is not locked for this machine.
    #[error("packages.lock has no tool set {set:?} for a {host} host\nhint: run `cargo xtask lock --update`")]
    NoSet {
        /// The set.
        set: String,
        /// The machine's architecture.
        host: Arch,
    },
    /// A recipe's Debian packages are not locked.
    #[error(
        "packages.lock has no Debian packages of {recipe:?} for {arch}\nhint: run `cargo xtask lock --update {recipe}`"
    )]
    NoGuest {
        /// The recipe's name.
        recipe: String,
        /// The image's architecture.
        arch: Arch,
    },
    /// A set names a package that the lock does not describe.
    #[error("packages.lock names {id} but does not describe it\nhint: run `cargo xtask lock --update`")]
    NoPackage {
        /// The package.
        id: PackageId,
    },
}

impl Lock {
    /// Reads the lock of a repository.
    pub fn load(path: &Path) -> Result<Self, LockError> {
        let text =
            fs::read_to_string(path).map_err(|source| LockError::Read { path: path.to_owned(), source })?;
        Self::parse(path, &text)
    }

    /// Parses a lock; `path` is for errors only.
    pub fn parse(path: &Path, text: &str) -> Result<Self, LockError> {
        toml::from_str(text)
            .map_err(|error| LockError::Parse { path: path.to_owned(), message: error.to_string() })
    }

    /// The packages of a set, in order of their ids.
    pub fn set(&self, host: Arch, set: &str) -> Result<Vec<(&PackageId, &LockedPackage)>, LockError> {
        let ids = self
            .sets
            .get(&host)
            .and_then(|sets| sets.get(set))
            .ok_or_else(|| LockError::NoSet { set: set.to_owned(), host })?;
        self.described(ids)
    }

    /// The Debian packages that a recipe takes files from, for images of `arch`, in order of their ids.
    pub fn guest(&self, arch: Arch, recipe: &str) -> Result<Vec<(&PackageId, &LockedPackage)>, LockError> {
        let ids = self.guest.get(&arch).and_then(|recipes| recipes.get(recipe));
        self.described(ids.ok_or_else(|| LockError::NoGuest { recipe: recipe.to_owned(), arch })?)
    }

    fn described<'a>(
        &'a self,
        ids: &'a [PackageId],
    ) -> Result<Vec<(&'a PackageId, &'a LockedPackage)>, LockError> {
        ids.iter().map(|id| self.package(id).map(|package| (id, package))).collect()
    }

    /// One package.
    pub fn package(&self, id: &str) -> Result<&LockedPackage, LockError> {
        self.packages.get(id).ok_or_else(|| LockError::NoPackage { id: id.to_owned() })
    }

    /// What a result depends on that was made with `set`.
    pub fn set_key(&self, host: Arch, set: &str) -> Result<Digest, LockError> {
        let mut key = KeyBuilder::new("tool-set");
        for (id, package) in self.set(host, set)? {
            key = key.with_digest(id, package.sha256);
        }
        Ok(key.finish())
    }
}
