//! Makes every pinned package local and verified. The only code that downloads during a build.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::apt::{Apt, AptError};
use crate::arch::Arch;
use crate::digest::Digest;
use crate::lock::{LockedPackage, PackageId};
use crate::mirror::Mirror;
use crate::progress::Progress;
use crate::store::{FileFacts, Store, StoreError};

/// How apt begins to say why an address gave no file.
const COMPLAINT: &str = "E: Failed to fetch ";

/// Whether the network may be used.
#[derive(Clone, Debug)]
pub enum Source {
    /// Download what is missing from this mirror.
    Mirror(Mirror),
    /// Downloads are needed but no mirror is known: an error only when something is missing.
    Unknown(String),
    /// `--offline`: what is missing is an error.
    Offline,
}

/// An input could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// `--offline`, and something is missing.
    #[error("inputs that the store lacks: {count}, the first is {first}\nhint: build once without --offline")]
    Offline {
        /// How many.
        count: usize,
        /// The first.
        first: PackageId,
    },
    /// No mirror is known.
    #[error("{0}")]
    NoMirror(String),
    /// apt could not be used at all.
    #[error(transparent)]
    Apt(AptError),
    /// The mirror did not give the file.
    #[error(
        "cannot download {id} {version} from {address}{cause}\nhint: the mirror may be out of reach, or may have replaced \
         this version: then run `cargo xtask lock --update {name}`, or set LEPTON_DEBIAN_MIRROR to a dated snapshot mirror"
    )]
    Download {
        /// The package.
        id: PackageId,
        /// Its name alone.
        name: String,
        /// Its version.
        version: String,
        /// Where it should be.
        address: String,
        /// What apt said.
        cause: String,
    },
    /// There is no room for the file.
    #[error("cannot download {id} {version} from {address} to {folder}")]
    NoRoom {
        /// The package.
        id: PackageId,
        /// Its version.
        version: String,
        /// Where it should come from.
        address: String,
        /// Where it should go.
        folder: PathBuf,
        /// What apt reported in its own words.
        source: io::Error,
    },
    /// The mirror gave other bytes.
    #[error(transparent)]
    Damaged(Box<Damaged>),
}

/// A file that came whole but is not the pinned one.
#[derive(Debug, thiserror::Error)]
#[error(
    "{id} {version} from {address} is damaged: {} bytes with sha256 {}, packages.lock wants {} bytes with sha256 {}\n\
     hint: the mirror or a proxy in between gives something else; set LEPTON_DEBIAN_MIRROR to another mirror",
    found.size, found.sha256, wanted.size, wanted.sha256
)]
pub struct Damaged {
    id: PackageId,
    version: String,
    address: String,
    found: FileFacts,
    wanted: FileFacts,
}

/// The verified files of `packages`, downloading what the store lacks.
pub fn packages(
    packages: &[(&PackageId, &LockedPackage)],
    host: Arch,
    store: &Store,
    source: &Source,
    progress: &Progress,
) -> Result<Vec<PathBuf>, FetchError> {
    let step = progress.step("verify downloads", Some(packages.len() as u64));
    let mut missing = Vec::new();
    for (id, package) in packages {
        if store.blob(package.sha256, package.size)?.is_none() {
            missing.push((*id, *package));
        }
        step.advance(1);
    }
    step.finish();
    let lock = if missing.is_empty() { None } else { Some(store.lock("downloads")?) };
    if lock.is_some() {
        // Stages that run side by side need some of the same packages: what the other one has fetched is here now.
        missing.retain(|(_, package)| !matches!(store.blob(package.sha256, package.size), Ok(Some(_))));
    }
    if let Some((first, _)) = missing.first() {
        match source {
            Source::Offline => {
                return Err(FetchError::Offline { count: missing.len(), first: (*first).clone() });
            }
            Source::Unknown(why) => return Err(FetchError::NoMirror(why.clone())),
            Source::Mirror(mirror) => download(&missing, host, store, mirror, progress)?,
        }
    }
    drop(lock);
    Ok(packages.iter().map(|(_, package)| store.blob_path(package.sha256)).collect())
}

fn download(
    missing: &[(&PackageId, &LockedPackage)],
    host: Arch,
    store: &Store,
    mirror: &Mirror,
    progress: &Progress,
) -> Result<(), FetchError> {
    let scratch = store.scratch("download")?;
    let apt = Apt::new(&scratch.path().join("apt"), host, "").map_err(FetchError::Apt)?;
    let files: Vec<(String, PathBuf)> = missing
        .iter()
        .map(|(_, package)| (address(mirror, package), scratch.path().join(package.sha256.to_string())))
        .collect();
    let step = progress.step("download", Some(files.len() as u64));
    let mut complaints = Vec::new();
    let result = apt.download(&files, |line| {
        if line.starts_with("Get:") {
            step.advance(1);
        }
        complaints.extend(line.strip_prefix(COMPLAINT).map(str::to_owned));
    });
    step.finish();
    // What arrived whole is kept even when another file failed, so that a second try is short.
    let mut first_error = None;
    for ((id, package), (address, path)) in missing.iter().zip(&files) {
        let complaint = complaints.iter().find_map(|text| text.strip_prefix(address.as_str())).map(str::trim);
        if let Err(error) = accept(id, package, address, path, store, complaint) {
            first_error.get_or_insert(error);
        }
    }
    match (first_error, result) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(FetchError::Apt(error)),
        (None, Ok(())) => Ok(()),
    }
}

fn accept(
    id: &PackageId,
    package: &LockedPackage,
    address: &str,
    path: &Path,
    store: &Store,
    complaint: Option<&str>,
) -> Result<(), FetchError> {
    let found = Digest::of_file(path).ok();
    if found == Some((package.sha256, package.size)) {
        store.add_blob(path, package.sha256)?;
        return Ok(());
    }
    let (id, version, address) = (id.clone(), package.version.clone(), address.to_owned());
    if let Some(source) = complaint.and_then(no_room) {
        let folder = path.parent().unwrap_or(path).to_owned();
        return Err(FetchError::NoRoom { id, version, address, folder, source });
    }
    match (found, complaint) {
        (Some((sha256, size)), None) => {
            let found = FileFacts { sha256, size };
            let wanted = FileFacts { sha256: package.sha256, size: package.size };
            Err(FetchError::Damaged(Box::new(Damaged { id, version, address, found, wanted })))
        }
        (found, complaint) => {
            let part = found.map(|(_, size)| format!(": {size} of {} bytes came", package.size));
            let cause = part.into_iter().chain(complaint.map(|text| format!(": {text}"))).collect();
            let name = id.split(':').next().unwrap_or(&id).to_owned();
            Err(FetchError::Download { id, name, version, address, cause })
        }
    }
}

/// The error behind apt's words `write (28: No space left on device)`, when it is about room.
fn no_room(complaint: &str) -> Option<io::Error> {
    let is_said = |error: &Errno| complaint.contains(&format!("({}: ", *error as i32));
    [Errno::ENOSPC, Errno::EDQUOT].into_iter().find(is_said).map(io::Error::from)
}

/// Versions with an epoch or a tilde are plain in indexes but must be escaped in addresses.
fn address(mirror: &Mirror, package: &LockedPackage) -> String {
    let escaped: String = package
        .path
        .chars()
        .map(|c| match c {
            '+' => "%2b".to_owned(),
            '~' => "%7e".to_owned(),
            ':' => "%3a".to_owned(),
            other => other.to_string(),
        })
        .collect();
    format!("{}/{escaped}", mirror.address(package.archive))
}
