//! SHA-256 of programs, kept as long as their files do not change.

use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use tokio::sync::Semaphore;

/// Programs whose digests are kept; a host has a few dozen.
const KEPT: usize = 256;

/// What changes when a file's bytes do: device, inode, size, time of the last change of the file (no program can set it).
type Stamp = (u64, u64, u64, i64, i64);

/// Digests of programs.
#[derive(Debug)]
pub(crate) struct Digests {
    kept: Mutex<BTreeMap<Stamp, Arc<str>>>,
    /// One program is read at a time: hosts are small, and callers of the same program wait for the first of them.
    turn: Semaphore,
}

impl Default for Digests {
    fn default() -> Self {
        Self { kept: Mutex::default(), turn: Semaphore::new(1) }
    }
}

fn stamp(metadata: &Metadata) -> Stamp {
    (metadata.dev(), metadata.ino(), metadata.len(), metadata.ctime(), metadata.ctime_nsec())
}

impl Digests {
    /// The digest of an open file in hexadecimal.
    pub(crate) async fn of(&self, file: File, metadata: Metadata, largest: u64) -> io::Result<Arc<str>> {
        let stamp = stamp(&metadata);
        if let Some(digest) = self.get(&stamp) {
            return Ok(digest);
        }
        let _turn = self.turn.acquire().await.map_err(io::Error::other)?;
        if let Some(digest) = self.get(&stamp) {
            return Ok(digest);
        }
        let read = tokio::task::spawn_blocking(move || read(file, largest));
        let (digest, after) = read.await.map_err(io::Error::other)??;
        let digest: Arc<str> = digest.into();
        // A file that is written to meanwhile is no program that runs, but it may be another kind of file system's.
        if after == stamp {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT {
                kept.clear();
            }
            kept.insert(stamp, Arc::clone(&digest));
        }
        Ok(digest)
    }

    fn get(&self, stamp: &Stamp) -> Option<Arc<str>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(stamp).cloned()
    }
}

fn read(mut file: File, largest: u64) -> io::Result<(String, Stamp)> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 128 * 1024];
    let mut size: u64 = 0;
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        size += count as u64;
        if size > largest {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        context.update(&buffer[..count]);
    }
    let digest = context.finish();
    let text = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((text, stamp(&file.metadata()?)))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_changed_file_has_another_digest() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let digests = Digests::default();
        let of = || async {
            let open = File::open(file.path()).unwrap();
            let metadata = open.metadata().unwrap();
            digests.of(open, metadata, 10).await
        };
        fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(&*of().await.unwrap(), abc);
        assert_eq!(&*of().await.unwrap(), abc);
        fs::write(&file, "abcd").unwrap();
        assert_eq!(&*of().await.unwrap(), "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589");
        fs::write(&file, "more than ten").unwrap();
        assert_eq!(of().await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }
}
