//! Unpacked layers by chain ID, each once for all images: `layers/NUMBER/fs` is the folder, `layers/NUMBER/layer.json` says
//! what it is. Numbers keep overlayfs's options short. A layer gets its number only when it is whole and verified.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::disk;
use crate::error::Error;
use crate::layer::{self, Rules};
use crate::record::Usage;

/// The file beside the folder.
const RECORD: &str = "layer.json";

/// All unpacked layers.
#[derive(Debug)]
pub(crate) struct Layers {
    folder: PathBuf,
    scratch: PathBuf,
    /// The lower folder of images without layers: overlayfs needs one.
    empty: PathBuf,
    durable: bool,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    layers: BTreeMap<Digest, (u64, Usage)>,
    last: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    chain_id: Digest,
    diff_id: Digest,
    usage: Usage,
}

/// A layer to unpack.
pub(crate) struct Wanted {
    pub(crate) chain_id: Digest,
    pub(crate) diff_id: Digest,
    /// Chain IDs of the layers below, the uppermost first.
    pub(crate) below: Vec<Digest>,
    pub(crate) blob: File,
    pub(crate) size: u64,
}

impl Layers {
    /// Finds the layers of a root folder; what is not whole is removed.
    pub(crate) fn open(root: &Path, durable: bool) -> io::Result<Self> {
        let mut layers = Self {
            folder: root.join("layers"),
            scratch: root.join("scratch"),
            empty: root.join("empty"),
            durable,
            known: Mutex::default(),
        };
        fs::create_dir_all(&layers.folder)?;
        fs::create_dir_all(&layers.empty)?;
        let mut known = Known::default();
        for name in disk::list(&layers.folder)? {
            let path = layers.folder.join(&name);
            let number = name.to_str().and_then(|name| name.parse::<u64>().ok());
            let record = fs::read(path.join(RECORD)).ok();
            let record = record.and_then(|bytes| serde_json::from_slice::<Record>(&bytes).ok());
            match (number, record) {
                (Some(number), Some(record))
                    if path.join("fs").is_dir() && !known.layers.contains_key(&record.chain_id) =>
                {
                    known.last = known.last.max(number);
                    known.layers.insert(record.chain_id, (number, record.usage));
                }
                _ => {
                    eprintln!("images: {} is no whole layer; it is removed", path.display());
                    disk::discard(&path, &layers.scratch)?;
                }
            }
        }
        layers.known = Mutex::new(known);
        Ok(layers)
    }

    pub(crate) fn has(&self, chain_id: Digest) -> bool {
        self.known().layers.contains_key(&chain_id)
    }

    /// The folder of a layer.
    pub(crate) fn path(&self, chain_id: Digest) -> Option<PathBuf> {
        self.known().layers.get(&chain_id).map(|(number, _)| self.numbered(*number).join("fs"))
    }

    /// overlayfs's lower folders for a chain, the uppermost first.
    pub(crate) fn lower(&self, chain: &[Digest]) -> Result<Vec<PathBuf>, Error> {
        if chain.is_empty() {
            return Ok(vec![self.empty.clone()]);
        }
        let folder = |id: &Digest| self.path(*id).ok_or(Error::NoLayer(*id));
        chain.iter().rev().map(folder).collect()
    }

    pub(crate) fn all(&self) -> Vec<Digest> {
        self.known().layers.keys().copied().collect()
    }

    pub(crate) fn usage(&self) -> Usage {
        let known = self.known();
        known.layers.values().fold(Usage::default(), |sum, (_, usage)| Usage {
            bytes: sum.bytes + usage.bytes,
            inodes: sum.inodes + usage.inodes,
        })
    }

    /// Unpacks a layer, which takes a while. Only one at a time may work on a chain ID.
    pub(crate) fn unpack(&self, wanted: Wanted, rules: &Rules) -> Result<(), Error> {
        let Wanted { chain_id, diff_id, below, blob, size } = wanted;
        let failed = |what, source| Error::disk(what, &self.folder, source);
        let lower = below.iter().map(|id| self.path(*id).ok_or(Error::NoLayer(*id)));
        let lower = lower.collect::<Result<Vec<PathBuf>, Error>>()?;
        let unfinished = disk::scratch(&self.scratch);
        let made = (|| {
            let folder = unfinished.join("fs");
            fs::create_dir_all(&folder).map_err(|source| failed("write", source))?;
            // Without an entry for the root, it stays as the layers below have it.
            imitate(&folder, lower.first()).map_err(|source| failed("write", source))?;
            let open = |path: &PathBuf| File::open(path).map(OwnedFd::from);
            let upper = open(&folder).map_err(|source| failed("open", source))?;
            let opened = lower.iter().map(open).collect::<io::Result<Vec<OwnedFd>>>();
            let opened = opened.map_err(|source| failed("open", source))?;
            layer::unpack(blob, size, diff_id, upper, opened, rules)
                .map_err(|source| Error::Layer { diff_id, source })?;
            let usage = disk::usage(&folder).map_err(|source| failed("count", source))?;
            self.name(&unfinished, &Record { chain_id, diff_id, usage })
                .map_err(|source| failed("write", source))
        })();
        if made.is_err() {
            let _ = disk::remove_tree(&unfinished);
        }
        made
    }

    /// Gives a whole layer its number.
    fn name(&self, unfinished: &Path, record: &Record) -> io::Result<()> {
        fs::write(unfinished.join(RECORD), serde_json::to_vec(record)?)?;
        if self.durable {
            // One call for all files instead of one each.
            rustix::fs::syncfs(File::open(unfinished)?)?;
        }
        let mut known = self.known();
        if known.layers.contains_key(&record.chain_id) {
            drop(known);
            return disk::remove_tree(unfinished);
        }
        let number = known.last + 1;
        let path = self.numbered(number);
        fs::rename(unfinished, &path)?;
        known.last = number;
        known.layers.insert(record.chain_id, (number, record.usage));
        drop(known);
        disk::sync_parent(&path, self.durable)
    }

    /// Takes a layer out of use; its files are to be removed afterwards.
    pub(crate) fn hide(&self, chain_id: Digest) -> io::Result<Option<PathBuf>> {
        let mut known = self.known();
        let Some((number, _)) = known.layers.remove(&chain_id) else { return Ok(None) };
        disk::hide(&self.numbered(number), &self.scratch)
    }

    fn numbered(&self, number: u64) -> PathBuf {
        self.folder.join(number.to_string())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds the lock")
    }
}

/// Gives a new folder the owner and mode of another, or those of a root.
pub(crate) fn imitate(folder: &Path, model: Option<&PathBuf>) -> io::Result<()> {
    let Some(model) = model else { return fs::set_permissions(folder, fs::Permissions::from_mode(0o755)) };
    let (wanted, found) = (fs::metadata(model)?, fs::metadata(folder)?);
    if (wanted.uid(), wanted.gid()) != (found.uid(), found.gid()) {
        std::os::unix::fs::chown(folder, Some(wanted.uid()), Some(wanted.gid()))?;
    }
    fs::set_permissions(folder, fs::Permissions::from_mode(wanted.mode() & 0o7777))
}
