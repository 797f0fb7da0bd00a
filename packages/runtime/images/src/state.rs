//! Which names mean which images: one small JSON file per name, replaced as a whole, and the images behind them in memory.
//! Names are references, `REPOSITORY@DIGEST`, or an image's ID when an archive had no name for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, shortened};
use crate::disk;
use crate::error::Error;
use crate::manifest::{Configuration, Manifest, chain_ids};
use crate::record::{ImageRecord, Source};
use crate::reference::Reference;

/// Fewest digits of an ID's beginning.
const SHORTEST_ID: usize = 3;

/// What a name means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) name: String,
    /// The manifest or index that the name stands for.
    pub(crate) target: Digest,
    pub(crate) manifest: Digest,
    pub(crate) pinned: bool,
    pub(crate) source: Source,
    pub(crate) created_at: u64,
    pub(crate) last_used: u64,
}

/// An image that is whole.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    pub(crate) id: Digest,
    pub(crate) manifest: Manifest,
    pub(crate) configuration: Configuration,
    /// Chain IDs, the lowest first.
    pub(crate) chain: Vec<Digest>,
    pub(crate) size: u64,
}

impl Image {
    pub(crate) fn new(manifest: Manifest, configuration: Configuration, manifest_size: u64) -> Self {
        let layers = manifest.layers.iter().map(|layer| layer.size);
        let size = layers.fold(manifest_size.saturating_add(manifest.config.size), u64::saturating_add);
        let chain = chain_ids(&configuration.diff_ids);
        Self { id: manifest.config.digest, manifest, configuration, chain, size }
    }
}

/// Names, images by the digests of their manifests, and what is held.
#[derive(Debug)]
pub(crate) struct State {
    folder: PathBuf,
    scratch: PathBuf,
    durable: bool,
    pub(crate) names: BTreeMap<String, Name>,
    pub(crate) images: BTreeMap<Digest, Image>,
    /// Contents that work in progress needs, and how often.
    held: BTreeMap<Digest, usize>,
}

impl State {
    pub(crate) fn new(root: &std::path::Path, durable: bool) -> Self {
        Self {
            folder: root.join("names"),
            scratch: root.join("scratch"),
            durable,
            names: BTreeMap::new(),
            images: BTreeMap::new(),
            held: BTreeMap::new(),
        }
    }

    /// Reads all names; what is damaged is removed.
    pub(crate) fn read(&mut self) -> Result<Vec<Name>, Error> {
        let failed = |source| Error::disk("read", &self.folder, source);
        let mut found = Vec::new();
        for file in disk::list(&self.folder).map_err(failed)? {
            let path = self.folder.join(&file);
            let name = std::fs::read(&path).map_err(serde_json::Error::io);
            let name = name.and_then(|bytes| serde_json::from_slice::<Name>(&bytes));
            match name {
                Ok(name) if self.path(&name.name) == path => found.push(name),
                Ok(name) => self.drop_damaged(&path, &format!("it is of {:?}", name.name)),
                Err(error) => self.drop_damaged(&path, &error.to_string()),
            }
        }
        Ok(found)
    }

    fn drop_damaged(&self, path: &std::path::Path, why: &str) {
        eprintln!("images: {} is damaged and removed: {why}", path.display());
        let _ = disk::discard(path, &self.scratch);
    }

    /// Removes the file of a name whose contents are gone.
    pub(crate) fn drop_broken(&self, name: &str, why: &Error) {
        eprintln!("images: {name} is not whole and removed: {why}");
        let _ = disk::discard(&self.path(name), &self.scratch);
    }

    /// Gives an image a name, which another image may have had.
    pub(crate) fn insert(&mut self, name: Name) -> Result<(), Error> {
        let path = self.path(&name.name);
        let written = serde_json::to_vec(&name).map_err(std::io::Error::from);
        let written = written.and_then(|bytes| disk::replace(&path, &bytes, &self.scratch, self.durable));
        written.map_err(|source| Error::disk("write", &path, source))?;
        self.names.insert(name.name.clone(), name);
        Ok(())
    }

    /// Takes a name away; the image goes with its last one.
    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        disk::discard(&path, &self.scratch).map_err(|source| Error::disk("remove", &path, source))?;
        self.names.remove(name);
        self.forget_nameless();
        Ok(())
    }

    /// Forgets images whose last name is gone, or means another one now.
    pub(crate) fn forget_nameless(&mut self) {
        let names = &self.names;
        self.images.retain(|manifest, _| names.values().any(|name| name.manifest == *manifest));
    }

    /// All characters of a name cannot be in a file's.
    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    /// The ID that a name means: a reference, an ID or its beginning, or the digest of a manifest.
    pub(crate) fn resolve(&self, text: &str) -> Result<Digest, Error> {
        let missing = || Error::NoImage(shortened(text));
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        if let Some(digest) = Digest::from_hex(digits) {
            let by_id = self.images.values().find(|image| image.id == digest).map(|image| image.id);
            let by_target =
                || self.names.values().find(|name| name.target == digest || name.manifest == digest);
            let by_target = || Some(self.images.get(&by_target()?.manifest)?.id);
            return by_id.or_else(by_target).ok_or_else(missing);
        }
        if !text.starts_with("sha256:") {
            match text.parse::<Reference>() {
                Ok(reference) => {
                    let known = self.names.get(&name_of(&reference));
                    if let Some(image) = known.and_then(|name| self.images.get(&name.manifest)) {
                        return Ok(image.id);
                    }
                }
                Err(error) if digits.chars().any(|digit| !digit.is_ascii_hexdigit()) => {
                    return Err(error.into());
                }
                Err(_) => {}
            }
        }
        let is_beginning = digits.len() >= SHORTEST_ID
            && digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        if !is_beginning {
            return Err(missing());
        }
        let fitting = self.images.values().map(|image| image.id).filter(|id| id.hex().starts_with(digits));
        let fitting: std::collections::BTreeSet<Digest> = fitting.collect();
        match fitting.len() {
            1 => fitting.first().copied().ok_or_else(missing),
            0 => Err(missing()),
            count => Err(Error::Ambiguous { name: shortened(text), count }),
        }
    }

    /// One of the images with an ID, and its names.
    pub(crate) fn image(&self, id: Digest) -> Option<(&Image, Vec<&Name>)> {
        let (_, image) = self.images.iter().find(|(_, image)| image.id == id)?;
        Some((image, self.names_of(id)))
    }

    pub(crate) fn names_of(&self, id: Digest) -> Vec<&Name> {
        let is_of = |name: &&Name| self.images.get(&name.manifest).is_some_and(|image| image.id == id);
        self.names.values().filter(is_of).collect()
    }

    pub(crate) fn record(&self, id: Digest) -> Option<ImageRecord> {
        let (image, names) = self.image(id)?;
        let of_kind = |kind: fn(&str) -> bool| {
            names.iter().map(|name| name.name.clone()).filter(|name| kind(name)).collect::<Vec<String>>()
        };
        let mut manifests: Vec<Digest> = names.iter().map(|name| name.manifest).collect();
        manifests.dedup();
        Some(ImageRecord {
            id,
            manifests,
            repo_tags: of_kind(|name| !name.contains('@') && !name.starts_with("sha256:")),
            repo_digests: of_kind(|name| name.contains('@')),
            size: image.size,
            pinned: names.iter().any(|name| name.pinned),
            source: names.first().map_or(Source::Import, |name| name.source),
            created_at: names.iter().map(|name| name.created_at).min().unwrap_or(0),
            last_used: names.iter().map(|name| name.last_used).max().unwrap_or(0),
            annotations: image.manifest.annotations.clone(),
            config: image.configuration.config.clone(),
            diff_ids: image.configuration.diff_ids.clone(),
        })
    }

    /// All images, by ID.
    pub(crate) fn records(&self) -> Vec<ImageRecord> {
        let ids: std::collections::BTreeSet<Digest> = self.images.values().map(|image| image.id).collect();
        ids.into_iter().filter_map(|id| self.record(id)).collect()
    }

    pub(crate) fn hold(&mut self, digest: Digest) {
        *self.held.entry(digest).or_default() += 1;
    }

    pub(crate) fn release(&mut self, digest: Digest) {
        if let Some(count) = self.held.get_mut(&digest) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&digest);
            }
        }
    }

    pub(crate) fn is_held(&self, digest: Digest) -> bool {
        self.held.contains_key(&digest)
    }
}

/// The name that a reference has here. A digest counts more than a tag, which nobody compared with it.
pub(crate) fn name_of(reference: &Reference) -> String {
    match reference.digest() {
        Some(digest) => reference.with_digest(digest),
        None => reference.to_string(),
    }
}
