//! The images of a host: what the CRI server calls.

use std::path::Path;
use std::sync::Arc;

use crate::clock;
use crate::collect;
use crate::config::Config;
use crate::error::Error;
use crate::import;
use crate::pull;
use crate::record::{
    Collected, Credentials, FsUsage, ImageRecord, Imported, Pulled, Snapshot, Source, Usage,
};
use crate::snapshots;
use crate::store::{Lease, Store, blocking};

/// Seconds that may be missing in the time of the last use on disk.
const STALE_USE: u64 = 60;

/// The images of a host. Copies are the same images.
#[derive(Debug, Clone)]
pub struct Images {
    store: Arc<Store>,
}

impl Images {
    /// Opens the root folder, drops what is damaged with a line on standard error, and registers preloaded images.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let store = blocking(move || {
            let store = Arc::new(Store::open(config)?);
            for path in &store.config.preloaded {
                import::preload(&store, path);
            }
            collect::collect(&store)?;
            Ok(store)
        });
        Ok(Self { store: store.await? })
    }

    /// Makes an image of a registry complete on this host: downloaded, verified and unpacked.
    pub async fn pull(&self, reference: &str, credentials: Option<&Credentials>) -> Result<Pulled, Error> {
        pull::pull(&self.store, reference, credentials).await
    }

    /// All images, by ID.
    #[must_use]
    pub fn list(&self) -> Vec<ImageRecord> {
        self.store.state().records()
    }

    /// The image that a reference, an ID (with or without `sha256:`), the digest of a manifest or the beginning of an ID
    /// names.
    pub fn get(&self, name: &str) -> Result<ImageRecord, Error> {
        let state = self.store.state();
        let id = state.resolve(name)?;
        state.record(id).ok_or_else(|| Error::NoImage(name.to_owned()))
    }

    /// Removes an image. By an ID or digest all of it goes; a reference with a tag takes that tag away, and the image with
    /// the last one. An image that is not there is an error; contents that others need stay. Containers keep what they use.
    pub async fn remove(&self, name: &str) -> Result<(), Error> {
        let (store, name) = (self.store.clone(), name.to_owned());
        blocking(move || {
            let mut state = store.state();
            let id = state.resolve(&name)?;
            let all: Vec<String> = state.names_of(id).into_iter().map(|name| name.name.clone()).collect();
            let wanted = name.parse().ok().map(|reference| crate::state::name_of(&reference));
            let tags = all.iter().filter(|name| !name.contains('@')).count();
            match wanted.filter(|wanted| all.contains(wanted) && !wanted.contains('@') && tags > 1) {
                Some(tag) => state.remove(&tag)?,
                None => {
                    for name in all {
                        state.remove(&name)?;
                    }
                }
            }
            drop(state);
            collect::collect(&store).map(drop)
        })
        .await
    }

    /// Reads an OCI layout (folder or tar) or a docker archive, plain or compressed.
    pub async fn import(&self, path: &Path) -> Result<Vec<Imported>, Error> {
        import::import(&self.store, path).await
    }

    /// Makes the folders of a container's root file system. The key is 1 to 128 letters, digits, `_`, `.` and `-`;
    /// a key that exists gives its snapshot again, if it is of the same image.
    pub async fn prepare(&self, name: &str, key: &str) -> Result<Snapshot, Error> {
        let (image, lease) = {
            let mut lease = Lease::new(&self.store);
            let state = self.store.state();
            let id = state.resolve(name)?;
            let image = state.image(id).map(|(image, _)| image.clone());
            drop(state);
            let image = image.ok_or_else(|| Error::NoImage(name.to_owned()))?;
            lease.hold_image(&image);
            (image, lease)
        };
        // Layers of preloaded images are unpacked when the first container wants them.
        self.store.unpack(&image).await?;
        let (store, key) = (self.store.clone(), key.to_owned());
        blocking(move || {
            let record = snapshots::Record { image: image.id, chain: image.chain };
            let snapshot = store.snapshots.prepare(&key, &record, &store.layers)?;
            touch(&store, record.image)?;
            drop(lease);
            Ok(snapshot)
        })
        .await
    }

    /// A snapshot that was prepared before, also by an earlier process.
    pub fn snapshot(&self, key: &str) -> Result<Snapshot, Error> {
        self.store.snapshots.get(key, &self.store.layers)
    }

    /// The keys of all snapshots.
    #[must_use]
    pub fn snapshots(&self) -> Vec<String> {
        self.store.snapshots.keys().unwrap_or_default()
    }

    /// Removes a snapshot that is not mounted; one that is not there is no error.
    pub async fn remove_snapshot(&self, key: &str) -> Result<(), Error> {
        let (store, key) = (self.store.clone(), key.to_owned());
        blocking(move || store.snapshots.remove(&key)).await
    }

    /// What the changes of a container take.
    pub async fn usage(&self, key: &str) -> Result<Usage, Error> {
        let (store, key) = (self.store.clone(), key.to_owned());
        blocking(move || store.snapshots.usage(&key)).await
    }

    /// What everything takes.
    pub async fn fs_usage(&self) -> Result<FsUsage, Error> {
        let store = self.store.clone();
        blocking(move || {
            let root = store.config.root.clone();
            let failed = |source| Error::disk("count", &root, source);
            let mut images = store.layers.usage();
            for folder in ["blobs", "partial"] {
                let found = crate::disk::usage(&root.join(folder)).map_err(failed)?;
                images = Usage { bytes: images.bytes + found.bytes, inodes: images.inodes + found.inodes };
            }
            let snapshots = crate::disk::usage(&root.join("snapshots")).map_err(failed)?;
            Ok(FsUsage { root, images, snapshots })
        })
        .await
    }

    /// Marks an image as one that garbage collectors must leave, or no more.
    pub async fn pin(&self, name: &str, pinned: bool) -> Result<(), Error> {
        let (store, name) = (self.store.clone(), name.to_owned());
        blocking(move || {
            let mut state = store.state();
            let id = state.resolve(&name)?;
            let names: Vec<_> = state.names_of(id).into_iter().cloned().collect();
            names.into_iter().try_for_each(|name| state.insert(crate::state::Name { pinned, ..name }))
        })
        .await
    }

    /// Removes contents that no image, snapshot or pull in progress needs. Removing an image does it too.
    pub async fn collect(&self) -> Result<Collected, Error> {
        let store = self.store.clone();
        blocking(move || collect::collect(&store)).await
    }
}

/// Remembers that an image was used, on disk not more often than needed.
fn touch(store: &Store, id: crate::Digest) -> Result<(), Error> {
    let now = clock::now();
    let mut state = store.state();
    let stale: Vec<_> = state.names_of(id).into_iter().cloned().collect();
    for name in stale.into_iter().filter(|name| now.abs_diff(name.last_used) > STALE_USE) {
        let is_preloaded = name.source == Source::Preloaded;
        let used = crate::state::Name { last_used: now, ..name };
        if is_preloaded {
            state.names.insert(used.name.clone(), used);
        } else {
            state.insert(used)?;
        }
    }
    Ok(())
}
