//! Images that come as files: OCI layouts (a folder, or a tar of one) and docker archives, plain or compressed; and those
//! of the operating system, which stay where they are. Every blob is verified, every name is a checked reference.

mod archive;
mod docker;
mod layout;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::blobs::ContentError;
use crate::clock;
use crate::digest::Digest;
use crate::error::Error;
use crate::layer::TarError;
use crate::record::{Imported, Source};
use crate::state::{Image, Name};
use crate::store::{Lease, Store, blocking};

/// What is wrong with an archive or layout.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be opened.
    #[error("cannot open {path}: {source}", path = path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no archive.
    #[error("{path}: {source}", path = path.display())]
    Archive {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: TarError,
    },
    /// A blob of it.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Neither of the two forms.
    #[error("{path} has neither the index.json of an OCI layout nor the manifest.json of a docker archive", path = path.display())]
    Form {
        /// Which.
        path: PathBuf,
    },
    /// Its index or list.
    #[error("{file} of the archive is not what it should be: {why}")]
    List {
        /// Which.
        file: &'static str,
        /// Why not.
        why: String,
    },
    /// A file that is named but not there.
    #[error("the archive names {name:?}, which it does not have")]
    Missing {
        /// Which.
        name: String,
    },
    /// More than can be kept in memory.
    #[error("the documents of the archive have more than {limit} bytes")]
    Documents {
        /// The limit.
        limit: u64,
    },
    /// Nothing for this host.
    #[error("{path} has no image for {platform}", path = path.display())]
    NoImage {
        /// Which.
        path: PathBuf,
        /// This host.
        platform: String,
    },
}

/// An image of an archive or layout.
struct Found {
    image: Image,
    /// What its names stand for: an index, or the manifest itself.
    target: Digest,
    manifest: Digest,
    names: Vec<String>,
}

/// Imports an archive or a layout.
pub(crate) async fn import(store: &Arc<Store>, path: &Path) -> Result<Vec<Imported>, Error> {
    let (reading, path) = (store.clone(), path.to_owned());
    let (found, lease) = blocking(move || {
        let mut lease = Lease::new(&reading);
        let found = if path.is_dir() {
            layout::copy(&reading, &path, &mut lease)?
        } else {
            archive::read(&reading, &path, &mut lease)?
        };
        if found.is_empty() {
            let platform = format!("linux/{}", reading.config.platform.architecture);
            return Err(ImportError::NoImage { path, platform }.into());
        }
        for found in &found {
            lease.hold_image(&found.image);
        }
        Ok((found, lease))
    })
    .await?;
    let mut imported = Vec::new();
    for found in found {
        store.unpack(&found.image).await?;
        let naming = store.clone();
        imported.push(blocking(move || name(&naming, found)).await?);
    }
    drop(lease);
    let collecting = store.clone();
    blocking(move || crate::collect::collect(&collecting)).await?;
    Ok(imported)
}

fn name(store: &Store, found: Found) -> Result<Imported, Error> {
    let Found { image, target, manifest, names } = found;
    let id = image.id;
    let mut state = store.state();
    state.images.insert(manifest, image);
    let (source, now) = (Source::Import, clock::now());
    let references = names.clone();
    let names = if names.is_empty() { vec![id.to_string()] } else { names };
    for name in names {
        let (created_at, last_used) = (now, now);
        state.insert(Name { name, target, manifest, pinned: false, source, created_at, last_used })?;
    }
    state.forget_nameless();
    Ok(Imported { id, references })
}

/// Registers the images of a read-only layout. What is wrong with it costs no more than a line.
pub(crate) fn preload(store: &Arc<Store>, path: &Path) {
    let found = match layout::look(store, path) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("images: preloaded images of {}: {error}", path.display());
            return;
        }
    };
    let (source, now) = (Source::Preloaded, clock::now());
    let mut state = store.state();
    for Found { image, target, manifest, names } in found {
        let names = if names.is_empty() { vec![image.id.to_string()] } else { names };
        state.images.entry(manifest).or_insert(image);
        for name in names {
            let (created_at, last_used) = (now, now);
            let new =
                Name { name: name.clone(), target, manifest, pinned: true, source, created_at, last_used };
            // A name that was pulled since means what was pulled.
            state.names.entry(name).or_insert(new);
        }
    }
    state.forget_nameless();
}
