//! An archive is read once, from front to back: contents go to the store as they come, documents stay in memory, and what
//! they say is looked at after the end. Nothing is written under a name that the archive chose.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use super::{Found, ImportError, docker, layout};
use crate::blobs::ContentError;
use crate::digest::Digest;
use crate::error::Error;
use crate::layer::tar::{Archive, Kind};
use crate::layer::{TarError, decompressed};
use crate::store::{Lease, Store};

/// Bytes of all documents together: an archive has few images.
const LONGEST_DOCUMENTS: u64 = 16 << 20;

/// What an archive had, by the names in it.
#[derive(Default)]
pub(super) struct Contents {
    pub(super) documents: BTreeMap<String, Vec<u8>>,
    pub(super) blobs: BTreeMap<String, (Digest, u64)>,
    /// Names that stand for others.
    pub(super) links: BTreeMap<String, String>,
}

/// Reads an archive of either form.
pub(super) fn read(store: &Store, path: &Path, lease: &mut Lease) -> Result<Vec<Found>, Error> {
    let contents = take(store, path, lease)?;
    if let Some(index) = contents.documents.get("index.json") {
        let mut supply = |_: &_| Ok(());
        return layout::images(store, path, index, &mut supply);
    }
    match contents.documents.get("manifest.json") {
        Some(list) => docker::images(store, list, &contents, lease),
        None => Err(ImportError::Form { path: path.to_owned() }.into()),
    }
}

fn take(store: &Store, path: &Path, lease: &mut Lease) -> Result<Contents, Error> {
    let limits = &store.config.limits;
    let open = |source| ImportError::Open { path: path.to_owned(), source };
    let broken = |source| ImportError::Archive { path: path.to_owned(), source };
    let stream = decompressed(File::open(path).map_err(open)?, limits.window).map_err(open)?;
    let mut archive = Archive::new(stream, limits.header, limits.entries);
    let mut contents = Contents::default();
    let (mut documents, mut taken) = (0, 0_u64);
    while let Some(entry) = archive.next().map_err(broken)? {
        let Some(name) = plain_name(&entry.path) else { continue };
        match entry.kind {
            Kind::Symlink => {
                let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                contents.links.extend(joined(folder, &entry.link).map(|target| (name, target)));
            }
            Kind::HardLink => contents.links.extend(plain_name(&entry.link).map(|target| (name, target))),
            Kind::File => {
                let named = name.strip_prefix("blobs/sha256/").and_then(Digest::from_hex);
                let is_document = name.ends_with(".json") && named.is_none();
                if is_document {
                    documents += entry.size;
                    if documents > LONGEST_DOCUMENTS {
                        return Err(ImportError::Documents { limit: LONGEST_DOCUMENTS }.into());
                    }
                    let mut bytes = Vec::new();
                    archive.read_to_end(&mut bytes).map_err(|error| broken(TarError::Read(error)))?;
                    contents.documents.insert(name, bytes);
                } else if named.is_some() || name.ends_with(".tar") {
                    taken += entry.size;
                    if taken > limits.unpacked {
                        let (size, limit) = (taken, limits.unpacked);
                        let digest = named.unwrap_or(Digest::of(b""));
                        return Err(ContentError::TooLarge { digest, size, limit }.into());
                    }
                    let blob = store.blobs.take(&mut archive, limits.blob, |found| {
                        lease.hold(found);
                        match named {
                            Some(wanted) if wanted != found => Err(ContentError::Digest { wanted, found }),
                            _ => Ok(()),
                        }
                    })?;
                    contents.blobs.insert(name, blob);
                }
            }
            _ => {}
        }
    }
    Ok(contents)
}

/// A name without `./`; none if it leads upwards or is no text.
fn plain_name(path: &[u8]) -> Option<String> {
    joined("", path)
}

/// A path as seen from a folder of the archive.
fn joined(folder: &str, path: &[u8]) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in std::str::from_utf8(path).ok()?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
