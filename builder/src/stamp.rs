//! Remembers what was written where, so that a build in which nothing changed takes no time.
//!
//! A stamp is only a shortcut: one that is lost or does not fit means the artifacts are written again.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::artifact::Format;
use crate::digest::{Digest, KeyBuilder};
use crate::store::{FileFacts, Store};

/// What a build wrote, by format, and the facts of every file.
type Artifacts = (Vec<(Format, String)>, BTreeMap<String, FileFacts>);

#[derive(Serialize, Deserialize)]
struct Stamp {
    written: Vec<(String, String)>,
    files: BTreeMap<String, Seen>,
}

#[derive(Serialize, Deserialize)]
struct Seen {
    facts: FileFacts,
    modified_ns: i128,
    inode: u64,
}

/// The artifacts that this key gave, if every file still is as it was written.
pub(crate) fn unchanged(store: &Store, out: &Path, key: Digest) -> Option<Artifacts> {
    let stamp: Stamp = serde_json::from_slice(&fs::read(path(store, out, key)?).ok()?).ok()?;
    let same = |(name, seen): (&String, &Seen)| {
        fs::metadata(out.join(name)).is_ok_and(|meta| {
            meta.len() == seen.facts.size
                && modified_ns(&meta) == seen.modified_ns
                && meta.ino() == seen.inode
        })
    };
    if !stamp.files.iter().all(same) {
        return None;
    }
    let written = stamp.written.into_iter().map(|(format, name)| Some((format.parse().ok()?, name)));
    let files = stamp.files.into_iter().map(|(name, seen)| (name, seen.facts)).collect();
    Some((written.collect::<Option<_>>()?, files))
}

/// Remembers finished artifacts. A stamp that cannot be written only costs time later.
pub(crate) fn record(
    store: &Store,
    out: &Path,
    key: Digest,
    written: &[(Format, String)],
    files: &BTreeMap<String, FileFacts>,
) {
    let seen = files.iter().filter_map(|(name, facts)| {
        let meta = fs::metadata(out.join(name)).ok()?;
        Some((name.clone(), Seen { facts: *facts, modified_ns: modified_ns(&meta), inode: meta.ino() }))
    });
    let written = written.iter().map(|(format, name)| (format.name().to_owned(), name.clone())).collect();
    let stamp = Stamp { written, files: seen.collect() };
    if let (Some(path), Ok(text)) = (path(store, out, key), serde_json::to_vec(&stamp)) {
        let _ = fs::write(path, text);
    }
}

fn path(store: &Store, out: &Path, key: Digest) -> Option<PathBuf> {
    let out = out.canonicalize().ok()?;
    let name = KeyBuilder::new("stamp")
        .with_digest("key", key)
        .with("out", out.to_string_lossy().as_bytes())
        .finish();
    Some(store.cache("stamps").ok()?.join(name.to_string()))
}

fn modified_ns(meta: &fs::Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}
