//! One pull: manifest, configuration, layers. Blobs are downloaded at the same time, layers unpacked in their order while
//! later ones are still on their way, and the name is given last.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::blobs::{ContentError, Ingest};
use crate::clock;
use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::{self, DEEPEST_INDEX, Document, Manifest, ManifestError};
use crate::record::{Credentials, Pulled, Source};
use crate::reference::Reference;
use crate::registry::{Fetched, RegistryError, Session};
use crate::state::{Image, Name};
use crate::store::{Lease, Store, blocking};

/// Pieces of a body that wait for the disk.
const WAITING_PIECES: usize = 8;

/// Tasks that end when nobody waits for them any more.
struct Downloads(Vec<JoinHandle<Result<u64, Error>>>);

impl Drop for Downloads {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// Pulls an image within the time that a pull may take.
pub(crate) async fn pull(
    store: &Arc<Store>,
    reference: &str,
    credentials: Option<&Credentials>,
) -> Result<Pulled, Error> {
    let reference: Reference = reference.parse()?;
    let session = Arc::new(store.client.session(&reference, credentials)?);
    let after = store.config.limits.pull;
    let done = tokio::time::timeout(after, pull_now(store, &reference, &session)).await;
    done.unwrap_or_else(|_| Err(RegistryError::Deadline { after }.into()))
}

async fn pull_now(
    store: &Arc<Store>,
    reference: &Reference,
    session: &Arc<Session>,
) -> Result<Pulled, Error> {
    let mut lease = Lease::new(store);
    let limits = &store.config.limits;
    let fetched = session.manifest(reference, |digest| known(store, digest)).await?;
    let target = fetched.digest;
    let (manifest, manifest_digest, manifest_size) = resolve(store, session, fetched, &mut lease).await?;
    let config = &manifest.config;
    lease.hold(config.digest);
    if config.size > limits.manifest {
        let (digest, size, limit) = (config.digest, config.size, limits.manifest);
        return Err(ManifestError::TooLarge { digest, size, limit }.into());
    }
    let mut downloaded =
        manifest_size + fetch(store.clone(), session.clone(), config.digest, config.size).await?;
    let bytes = store.blobs.read(config.digest, config.size, limits.manifest)?;
    let configuration = manifest::configuration(&bytes, manifest.layers.len())?;
    let image = Image::new(manifest, configuration, manifest_size);
    lease.hold_image(&image);
    let mut downloads = Downloads(Vec::new());
    let mut waiting = Vec::new();
    for (index, layer) in image.manifest.layers.iter().enumerate() {
        if layer.size > limits.blob {
            let (digest, size, limit) = (layer.digest, layer.size, limits.blob);
            return Err(ManifestError::TooLarge { digest, size, limit }.into());
        }
        if !store.layers.has(image.chain[index]) {
            let work = fetch(store.clone(), session.clone(), layer.digest, layer.size);
            downloads.0.push(tokio::spawn(work));
            waiting.push(index);
        }
    }
    for (position, index) in waiting.into_iter().enumerate() {
        let done = (&mut downloads.0[position]).await;
        downloaded += done.map_err(|_| Error::Ending)??;
        store.unpack_layer(&image, index).await?;
    }
    let id = image.id;
    let now = clock::now();
    let digest_name = reference.with_digest(target);
    let tag_name = reference.digest().is_none().then(|| reference.to_string());
    let (names_store, names) = (store.clone(), std::iter::once(digest_name.clone()).chain(tag_name));
    let names: Vec<String> = names.collect();
    blocking(move || {
        let _until_done = lease;
        let mut state = names_store.state();
        state.images.insert(manifest_digest, image);
        for name in names {
            let known = state.names.get(&name).filter(|known| known.manifest == manifest_digest);
            // What the operating system brings is its own again at the next start.
            if known.is_some_and(|known| known.source == Source::Preloaded) {
                continue;
            }
            let (pinned, created_at) = known.map_or((false, now), |known| (known.pinned, known.created_at));
            let (manifest, source) = (manifest_digest, Source::Registry);
            state.insert(Name { name, target, manifest, pinned, source, created_at, last_used: now })?;
        }
        state.forget_nameless();
        Ok(())
    })
    .await?;
    let collecting = store.clone();
    blocking(move || crate::collect::collect(&collecting)).await?;
    Ok(Pulled { id, repo_digest: digest_name, downloaded })
}

/// A manifest that is here already; a damaged one is fetched again.
fn known(store: &Store, digest: Digest) -> Option<Vec<u8>> {
    store.blobs.read_unsized(digest, store.config.limits.manifest).ok()
}

/// Goes from an index to the manifest for this host. Everything on the way is stored.
async fn resolve(
    store: &Arc<Store>,
    session: &Session,
    mut fetched: Fetched,
    lease: &mut Lease,
) -> Result<(Manifest, Digest, u64), Error> {
    let limits = &store.config.limits;
    for _ in 0..=DEEPEST_INDEX {
        let Fetched { digest, content_type, bytes } = fetched;
        lease.hold(digest);
        let document = manifest::parse(&bytes, &content_type, limits.layers)?;
        let size = bytes.len() as u64;
        let keeping = store.clone();
        blocking(move || match known(&keeping, digest) {
            Some(_) => Ok(()),
            None => Ok(keeping.blobs.store(digest, &bytes)?),
        })
        .await?;
        let index = match document {
            Document::Manifest(manifest) => return Ok((manifest, digest, size)),
            Document::Index(index) => index,
        };
        let entry = manifest::choose(&index, &store.config.platform)?;
        if entry.size > limits.manifest {
            let (digest, size, limit) = (entry.digest, entry.size, limits.manifest);
            return Err(ManifestError::TooLarge { digest, size, limit }.into());
        }
        let next = session.manifest_by_digest(entry.digest, |digest| known(store, digest)).await?;
        if next.bytes.len() as u64 != entry.size {
            let found = next.bytes.len() as u64;
            return Err(ContentError::Size { digest: entry.digest, wanted: entry.size, found }.into());
        }
        // The index is as good a witness of the type as the registry's header.
        let content_type =
            if next.content_type.is_empty() { entry.media_type.clone() } else { next.content_type };
        fetched = Fetched { content_type, ..next };
    }
    Err(ManifestError::Nested.into())
}

/// Sees to it that a blob is here; gives the bytes that were downloaded for it.
async fn fetch(store: Arc<Store>, session: Arc<Session>, digest: Digest, size: u64) -> Result<u64, Error> {
    let _turn = store.turn(digest).await;
    let looking = store.clone();
    if blocking(move || Ok(looking.blobs.open(digest, size)?.is_some())).await? {
        return Ok(0);
    }
    let _one = store.downloads.acquire().await.map_err(|_| Error::Ending)?;
    let beginning = store.clone();
    let mut ingest = blocking(move || Ok(beginning.blobs.ingest(digest, size)?)).await?;
    let (mut downloaded, mut idle_tries) = (0, 0);
    let mut pause = store.config.limits.pause;
    while ingest.written() < size {
        let before = ingest.written();
        let cut;
        (ingest, cut) = continue_download(&session, digest, size, ingest).await?;
        downloaded += ingest.written().saturating_sub(before);
        if ingest.written() == size {
            break;
        }
        // As long as bytes come, it goes on; without any, only so often.
        idle_tries = if ingest.written() > before { 0 } else { idle_tries + 1 };
        if idle_tries >= store.config.limits.tries {
            return Err(cut.into());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(std::time::Duration::from_secs(10));
    }
    blocking(move || Ok(ingest.finish()?)).await?;
    Ok(downloaded)
}

/// Takes what the registry gives until it ends, and says why it ended.
async fn continue_download(
    session: &Session,
    digest: Digest,
    size: u64,
    mut ingest: Ingest,
) -> Result<(Ingest, RegistryError), Error> {
    let (from, mut answer) = session.blob(digest, size, ingest.written()).await?;
    if from != ingest.written() {
        ingest.restart()?;
    }
    let (sender, mut receiver) = mpsc::channel::<Bytes>(WAITING_PIECES);
    let writing = tokio::task::spawn_blocking(move || {
        while let Some(bytes) = receiver.blocking_recv() {
            ingest.write(&bytes)?;
        }
        Ok::<Ingest, ContentError>(ingest)
    });
    let ended = loop {
        match answer.piece().await {
            Ok(Some(bytes)) => {
                // The writer refuses a byte too many, or the disk is full: it says so below.
                if sender.send(bytes).await.is_err() {
                    break None;
                }
            }
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    drop(sender);
    let ingest = writing.await.map_err(|_| Error::Ending)??;
    let host = answer.url.origin.authority();
    let found = ingest.written();
    Ok((ingest, ended.unwrap_or(RegistryError::Cut { host, digest, wanted: size, found })))
}
