//! Snapshots by key: `snapshots/KEY/fs` takes a container's changes, `snapshots/KEY/work` is overlayfs's, and
//! `snapshots/KEY/snapshot.json` says which layers lie below. They are made whole or not at all, and never mounted here.
//! They last as long as the boot that made them, so that nothing is forced to the disk: one that a power cut damaged is
//! only good for removal.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, shortened};
use crate::disk;
use crate::error::Error;
use crate::layers::{Layers, imitate};
use crate::record::{Snapshot, Usage};

/// The file beside the folders.
const RECORD: &str = "snapshot.json";
/// Longest key.
const LONGEST_KEY: usize = 128;

/// All snapshots.
#[derive(Debug)]
pub(crate) struct Snapshots {
    folder: PathBuf,
    scratch: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) image: Digest,
    /// Chain IDs, the lowest first.
    pub(crate) chain: Vec<Digest>,
}

impl Snapshots {
    pub(crate) fn open(root: &Path) -> io::Result<Self> {
        let folder = root.join("snapshots");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, scratch: root.join("scratch") })
    }

    /// Makes a snapshot, or finds the one that is there.
    pub(crate) fn prepare(&self, key: &str, record: &Record, layers: &Layers) -> Result<Snapshot, Error> {
        let path = self.path(key)?;
        if path.exists() {
            let found = self.record(key)?;
            if found != *record {
                return Err(Error::OtherSnapshot { key: key.to_owned(), image: found.image });
            }
            return self.get(key, layers);
        }
        let lower = layers.lower(&record.chain)?;
        let unfinished = disk::scratch(&self.scratch);
        let made = (|| {
            fs::create_dir_all(unfinished.join("fs"))?;
            fs::create_dir(unfinished.join("work"))?;
            imitate(&unfinished.join("fs"), lower.first())?;
            disk::replace(&unfinished.join(RECORD), &serde_json::to_vec(record)?, &unfinished, false)?;
            fs::rename(&unfinished, &path)
        })();
        if let Err(source) = made {
            let _ = disk::remove_tree(&unfinished);
            return Err(Error::disk("write", &path, source));
        }
        self.get(key, layers)
    }

    /// A snapshot that is there.
    pub(crate) fn get(&self, key: &str, layers: &Layers) -> Result<Snapshot, Error> {
        let record = self.record(key)?;
        let lower = layers.lower(&record.chain)?;
        let path = self.path(key)?;
        Ok(Snapshot {
            key: key.to_owned(),
            image: record.image,
            lower,
            upper: path.join("fs"),
            work: path.join("work"),
        })
    }

    fn record(&self, key: &str) -> Result<Record, Error> {
        let path = self.path(key)?;
        match fs::read(path.join(RECORD)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| Error::disk("read", &path.join(RECORD), source.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoSnapshot(shortened(key))),
            Err(source) => Err(Error::disk("read", &path, source)),
        }
    }

    /// All keys, sorted; a damaged snapshot is among them, so that it can be removed.
    pub(crate) fn keys(&self) -> io::Result<Vec<String>> {
        let names = disk::list(&self.folder)?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// The chains of all snapshots; whoever removes layers leaves these.
    pub(crate) fn chains(&self) -> io::Result<Vec<Digest>> {
        let mut found = Vec::new();
        for key in self.keys()? {
            match self.record(&key) {
                Ok(record) => found.extend(record.chain),
                Err(error) => eprintln!("images: snapshot {key:?} is damaged: {error}"),
            }
        }
        Ok(found)
    }

    /// Removes a snapshot, which whoever mounted it has unmounted before.
    pub(crate) fn remove(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        disk::discard(&path, &self.scratch).map_err(|source| Error::disk("remove", &path, source))
    }

    /// What was changed.
    pub(crate) fn usage(&self, key: &str) -> Result<Usage, Error> {
        let path = self.path(key)?;
        match disk::usage(&path.join("fs")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Error::NoSnapshot(shortened(key))),
            usage => usage.map_err(|source| Error::disk("count", &path, source)),
        }
    }

    fn path(&self, key: &str) -> Result<PathBuf, Error> {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
        let is_key =
            (1..=LONGEST_KEY).contains(&key.len()) && key.chars().all(letters) && !key.starts_with('.');
        if is_key { Ok(self.folder.join(key)) } else { Err(Error::Key(shortened(key))) }
    }
}
