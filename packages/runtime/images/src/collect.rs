//! Garbage collection: what no name, snapshot or work in progress needs is taken out of sight while names cannot change,
//! and removed afterwards.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::clock;
use crate::digest::Digest;
use crate::disk;
use crate::error::Error;
use crate::record::Collected;
use crate::store::Store;

/// Removes unneeded contents. It waits for the disk.
pub(crate) fn collect(store: &Arc<Store>) -> Result<Collected, Error> {
    let failed = |source| Error::disk("remove", &store.config.root, source);
    let mut hidden = Vec::new();
    let mut collected = Collected::default();
    let state = store.state();
    let mut chains: BTreeSet<Digest> = store.snapshots.chains().map_err(failed)?.into_iter().collect();
    let mut blobs: BTreeSet<Digest> = BTreeSet::new();
    for name in state.names.values() {
        blobs.extend([name.target, name.manifest]);
    }
    for image in state.images.values() {
        chains.extend(&image.chain);
        blobs.insert(image.id);
        for (layer, chain_id) in image.manifest.layers.iter().zip(&image.chain) {
            // A layer that is not unpacked yet needs its blob.
            if store.config.keep_layers || !store.layers.has(*chain_id) {
                blobs.insert(layer.digest);
            }
        }
    }
    let scratch = store.config.root.join("scratch");
    let longest = store.config.limits.partial.as_secs();
    for (digest, is_partial, path) in store.blobs.all().map_err(failed)? {
        if is_partial && age(&path) < longest {
            continue;
        }
        if (is_partial || !blobs.contains(&digest)) && !state.is_held(digest) {
            hidden.extend(disk::hide(&path, &scratch).map_err(failed)?);
            collected.blobs += 1;
        }
    }
    for chain_id in store.layers.all() {
        if !chains.contains(&chain_id) && !state.is_held(chain_id) {
            hidden.extend(store.layers.hide(chain_id).map_err(failed)?);
            collected.layers += 1;
        }
    }
    drop(state);
    for path in hidden {
        disk::remove_tree(&path).map_err(failed)?;
    }
    Ok(collected)
}

/// Seconds since a file was last written to.
fn age(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let written = std::fs::metadata(path).map_or(0, |found| u64::try_from(found.mtime()).unwrap_or(0));
    clock::now().saturating_sub(written)
}
