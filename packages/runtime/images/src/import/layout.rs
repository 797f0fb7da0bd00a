//! OCI layouts: `index.json` names images, `blobs/sha256/` has their contents. Everything is opened relative to a handle of the
//! folder, without links.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::{Found, ImportError};
use crate::blobs::ContentError;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{self, DEEPEST_INDEX, Descriptor, Document, ManifestError};
use crate::reference::Reference;
use crate::state::{Image, name_of};
use crate::store::{Lease, Store};

/// A complete reference, by containerd and Docker.
const CONTAINERD_NAME: &str = "io.containerd.image.name";
/// A reference or just a tag, by OCI.
const OCI_NAME: &str = "org.opencontainers.image.ref.name";
const INDEX: &str = "index.json";

/// Gets a blob into the store, if it is not there yet.
type Supply<'a> = dyn FnMut(&Descriptor) -> Result<(), Error> + 'a;

/// Copies the images of a layout that is a folder.
pub(super) fn copy(store: &Store, path: &Path, lease: &mut Lease) -> Result<Vec<Found>, Error> {
    let folder = open_folder(path)?;
    let index = document(&folder, path, store.config.limits.manifest)?;
    let mut supply = |blob: &Descriptor| {
        lease.hold(blob.digest);
        if store.blobs.open(blob.digest, blob.size)?.is_some() {
            return Ok(());
        }
        let name = format!("blobs/sha256/{}", blob.digest.hex());
        let mut file = open(&folder, &name).map_err(|_| ImportError::Missing { name })?;
        store.blobs.take(&mut file, blob.size, |found| matches(blob, found))?;
        Ok(())
    };
    images(store, path, &index, &mut supply)
}

/// Finds the images of a layout whose blobs the store reads where they are.
pub(super) fn look(store: &Store, path: &Path) -> Result<Vec<Found>, Error> {
    if !path.join(INDEX).exists() {
        return Ok(Vec::new());
    }
    let folder = open_folder(path)?;
    let index = document(&folder, path, store.config.limits.manifest)?;
    images(store, path, &index, &mut |_| Ok(()))
}

fn matches(blob: &Descriptor, found: Digest) -> Result<(), ContentError> {
    if found == blob.digest { Ok(()) } else { Err(ContentError::Digest { wanted: blob.digest, found }) }
}

/// The images that an index names, for this host.
pub(super) fn images(
    store: &Store,
    path: &Path,
    index: &[u8],
    supply: &mut Supply<'_>,
) -> Result<Vec<Found>, Error> {
    let list = |why: String| ImportError::List { file: INDEX, why };
    let limits = &store.config.limits;
    let parsed = manifest::parse(index, manifest::OCI_INDEX, limits.layers);
    let Document::Index(entries) = parsed.map_err(|error| list(error.to_string()))? else {
        return Err(ImportError::Form { path: path.to_owned() }.into());
    };
    let mut found: BTreeMap<Digest, Found> = BTreeMap::new();
    for entry in &entries {
        // An entry for another architecture is fine beside one for this host.
        let is_foreign = manifest::choose(std::slice::from_ref(entry), &store.config.platform).is_err();
        if is_foreign {
            continue;
        }
        let Some((manifest, image)) = resolve(store, entry, supply)? else { continue };
        let target = entry.digest;
        let names = names(entry, target)?;
        let known = found.entry(manifest).or_insert(Found { image, target, manifest, names: Vec::new() });
        known.names.extend(names);
    }
    Ok(found.into_values().collect())
}

/// The manifest for this host behind an entry; none if there is none for it.
fn resolve(
    store: &Store,
    entry: &Descriptor,
    supply: &mut Supply<'_>,
) -> Result<Option<(Digest, Image)>, Error> {
    let limits = &store.config.limits;
    let mut next = entry.clone();
    for _ in 0..=DEEPEST_INDEX {
        supply(&next)?;
        let bytes = store.blobs.read(next.digest, next.size, limits.manifest)?;
        match manifest::parse(&bytes, &next.media_type, limits.layers)? {
            Document::Index(index) => match manifest::choose(&index, &store.config.platform) {
                Ok(chosen) => next = chosen.clone(),
                Err(_) => return Ok(None),
            },
            Document::Manifest(parsed) => {
                supply(&parsed.config)?;
                let config = &parsed.config;
                let configuration = store.blobs.read(config.digest, config.size, limits.manifest)?;
                let configuration = manifest::configuration(&configuration, parsed.layers.len())?;
                for layer in &parsed.layers {
                    if layer.size > limits.blob {
                        let (digest, size, limit) = (layer.digest, layer.size, limits.blob);
                        return Err(ContentError::TooLarge { digest, size, limit }.into());
                    }
                    let blob = Descriptor {
                        media_type: String::new(),
                        digest: layer.digest,
                        size: layer.size,
                        platform: None,
                        annotations: BTreeMap::new(),
                    };
                    supply(&blob)?;
                    if store.blobs.open(layer.digest, layer.size)?.is_none() {
                        return Err(ContentError::Missing(layer.digest).into());
                    }
                }
                let image = Image::new(parsed, configuration, bytes.len() as u64);
                return Ok(Some((next.digest, image)));
            }
        }
    }
    Err(ManifestError::Nested.into())
}

/// The names that an entry gives its image: the reference, and the same with the digest. A tag alone names nothing.
fn names(entry: &Descriptor, target: Digest) -> Result<Vec<String>, Error> {
    let text = entry.annotations.get(CONTAINERD_NAME).or_else(|| {
        let is_complete = |text: &&String| text.contains(['/', ':']);
        entry.annotations.get(OCI_NAME).filter(is_complete)
    });
    let Some(text) = text else { return Ok(Vec::new()) };
    let reference: Reference = text.parse()?;
    let mut names = vec![name_of(&reference), reference.with_digest(target)];
    names.dedup();
    Ok(names)
}

fn open_folder(path: &Path) -> Result<OwnedFd, ImportError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, Mode::empty());
    opened.map_err(|source| ImportError::Open { path: path.to_owned(), source: source.into() })
}

fn open(folder: &OwnedFd, name: &str) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(folder, name, flags, Mode::empty(), within).map(File::from)
}

fn document(folder: &OwnedFd, path: &Path, limit: u64) -> Result<Vec<u8>, ImportError> {
    let file = open(folder, INDEX).map_err(|_| ImportError::Form { path: path.to_owned() })?;
    let mut bytes = Vec::new();
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|source| ImportError::Open { path: path.join(INDEX), source })?;
    if bytes.len() as u64 > limit { Err(ImportError::Documents { limit }) } else { Ok(bytes) }
}
