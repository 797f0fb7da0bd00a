//! The parts of the images put together: contents, layers, snapshots, names and registries, and what keeps concurrent work
//! on them apart.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use tokio::sync::{OwnedMutexGuard, Semaphore};

use crate::blobs::Blobs;
use crate::config::Config;
use crate::digest::Digest;
use crate::disk;
use crate::error::Error;
use crate::layer::Rules;
use crate::layers::{Layers, Wanted};
use crate::manifest::{self, Document};
use crate::registry::Client;
use crate::snapshots::Snapshots;
use crate::state::{Image, State};

/// Everything about the images of a host.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) config: Config,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) layers: Layers,
    pub(crate) snapshots: Snapshots,
    pub(crate) client: Arc<Client>,
    /// Downloads at a time.
    pub(crate) downloads: Semaphore,
    /// One layer is unpacked at a time: memory and processors are the same for all.
    unpacking: Arc<Semaphore>,
    state: Mutex<State>,
    busy: Mutex<BTreeMap<Digest, Weak<tokio::sync::Mutex<()>>>>,
    /// Held as long as the process lives.
    _lock: File,
}

/// How long the lock may be held still by one that was killed: a child of it holds the lock, too, until it has become
/// another program, and on a busy host that takes its time.
const DYING: Duration = Duration::from_secs(10);

/// Takes the lock of a root folder.
fn take(lock: &File) -> rustix::io::Result<()> {
    let begin = Instant::now();
    loop {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < DYING => {
                std::thread::sleep(Duration::from_millis(5));
            }
            result => return result,
        }
    }
}

impl Store {
    /// Opens a root folder for this process alone, and drops what is not whole.
    pub(crate) fn open(config: Config) -> Result<Self, Error> {
        let root = &config.root;
        let failed = |source| Error::disk("write", root, source);
        // Images can hold set-user-ID programs: nobody else gets to them.
        if let Some(parent) = root.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(failed)?;
        let lock = File::create(root.join("lock")).map_err(failed)?;
        take(&lock).map_err(|_| Error::Locked(root.clone()))?;
        let scratch = root.join("scratch");
        if scratch.exists() {
            disk::remove_tree(&scratch).map_err(failed)?;
        }
        for folder in ["scratch", "partial", "blobs/sha256", "names"] {
            fs::create_dir_all(root.join(folder)).map_err(failed)?;
        }
        let elsewhere = config.preloaded.iter().map(|layout| layout.join("blobs/sha256")).collect();
        let blobs = Arc::new(Blobs::new(root, elsewhere, config.durable));
        let layers = Layers::open(root, config.durable).map_err(failed)?;
        let snapshots = Snapshots::open(root).map_err(failed)?;
        let mut state = State::new(root, config.durable);
        for name in state.read()? {
            let read = read_image(&blobs, &config, name.manifest);
            match read.and_then(|image| whole(&blobs, &layers, image)) {
                Ok(image) => {
                    state.images.insert(name.manifest, image);
                    state.names.insert(name.name.clone(), name);
                }
                Err(error) => state.drop_broken(&name.name, &error),
            }
        }
        let client = Arc::new(Client::new(&config)?);
        Ok(Self {
            blobs,
            layers,
            snapshots,
            client,
            downloads: Semaphore::new(config.limits.downloads.max(1)),
            unpacking: Arc::new(Semaphore::new(1)),
            state: Mutex::new(state),
            busy: Mutex::default(),
            _lock: lock,
            config,
        })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the lock")
    }

    /// Waits until nobody else works on a digest.
    pub(crate) async fn turn(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let lock = {
            let mut busy = self.busy.lock().expect("nothing panics while it holds the lock");
            busy.retain(|_, lock| lock.strong_count() > 0);
            let known = busy.get(&digest).and_then(Weak::upgrade);
            let lock = known.unwrap_or_default();
            busy.insert(digest, Arc::downgrade(&lock));
            lock
        };
        lock.lock_owned().await
    }

    /// Sees to it that all layers of an image are unpacked, from blobs that are here. Whoever calls this holds them.
    pub(crate) async fn unpack(self: &Arc<Self>, image: &Image) -> Result<(), Error> {
        for index in 0..image.chain.len() {
            self.unpack_layer(image, index).await?;
        }
        Ok(())
    }

    /// The same for one layer, when those below it are there.
    pub(crate) async fn unpack_layer(self: &Arc<Self>, image: &Image, index: usize) -> Result<(), Error> {
        let chain_id = image.chain[index];
        let turn = self.turn(chain_id).await;
        if self.layers.has(chain_id) {
            return Ok(());
        }
        let one = self.unpacking.clone().acquire_owned().await.map_err(|_| Error::Ending)?;
        let mut lease = Lease::new(self);
        lease.hold_image(image);
        let layer = &image.manifest.layers[index];
        let (digest, size) = (layer.digest, layer.size);
        let diff_id = image.configuration.diff_ids[index];
        let below = image.chain[..index].iter().rev().copied().collect();
        let store = self.clone();
        blocking(move || {
            // The work goes on when nobody waits for it any more, and so must what protects it.
            let _until_done = (turn, one, lease);
            let blob = store.blobs.open(digest, size)?.ok_or(crate::blobs::ContentError::Missing(digest))?;
            let rules = Rules { limits: store.config.limits.clone(), devices: store.config.devices };
            store.layers.unpack(Wanted { chain_id, diff_id, below, blob, size }, &rules)
        })
        .await
    }
}

/// Runs work with files on a thread that may wait.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Ending),
    }
}

/// Reads an image whose manifest and configuration are here.
pub(crate) fn read_image(blobs: &Blobs, config: &Config, manifest: Digest) -> Result<Image, Error> {
    let limits = &config.limits;
    let bytes = blobs.read_unsized(manifest, limits.manifest)?;
    let Document::Manifest(parsed) = manifest::parse(&bytes, "", limits.layers)? else {
        return Err(manifest::ManifestError::Nested.into());
    };
    let configuration = blobs.read(parsed.config.digest, parsed.config.size, limits.manifest)?;
    let configuration = manifest::configuration(&configuration, parsed.layers.len())?;
    Ok(Image::new(parsed, configuration, bytes.len() as u64))
}

/// Whether every layer of an image is unpacked, or can be.
pub(crate) fn whole(blobs: &Blobs, layers: &Layers, image: Image) -> Result<Image, Error> {
    for (chain_id, layer) in image.chain.iter().zip(&image.manifest.layers) {
        if !layers.has(*chain_id) && blobs.open(layer.digest, layer.size)?.is_none() {
            return Err(Error::NoLayer(*chain_id));
        }
    }
    Ok(image)
}

/// Keeps contents from being collected until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    store: Arc<Store>,
    held: Vec<Digest>,
}

impl Lease {
    pub(crate) fn new(store: &Arc<Store>) -> Self {
        Self { store: store.clone(), held: Vec::new() }
    }

    pub(crate) fn hold(&mut self, digest: Digest) {
        self.store.state().hold(digest);
        self.held.push(digest);
    }

    /// Holds everything of an image.
    pub(crate) fn hold_image(&mut self, image: &Image) {
        self.hold(image.id);
        image.manifest.layers.iter().for_each(|layer| self.hold(layer.digest));
        image.chain.iter().for_each(|chain_id| self.hold(*chain_id));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut state = self.store.state();
        self.held.iter().for_each(|digest| state.release(*digest));
    }
}
