//! Temporary folders that are removed when they are dropped, and also when the program is interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Folders that exist now; none once the program is ending, when no more may be made.
static LIVE: Mutex<Option<BTreeSet<PathBuf>>> = Mutex::new(Some(BTreeSet::new()));

/// How often a folder is tried again into which a dying tool still writes.
const TRIES: u32 = 40;
/// How long it is left to the tool in between.
const PAUSE: Duration = Duration::from_millis(50);

/// A temporary folder.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// A new folder in `parent`, on the same file system as what will be renamed out of it.
    pub fn new_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        // Made while the list is held, so that no folder exists that is not listed.
        live(|paths| {
            let path = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?.keep();
            paths.insert(path.clone());
            Ok(Self { path })
        })?
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its final name, replacing nothing; it is then no longer temporary.
    pub(crate) fn rename_to(self, to: &Path) -> io::Result<()> {
        // Nothing is left under the temporary name, so dropping has nothing to remove.
        self.publish(|from| fs::rename(from, to))?
    }

    /// Moves files out of it to their final names. An interrupt waits until all are moved, or came before the first:
    /// then the folder is being removed, and moving what is left of it would publish half of a result.
    pub(crate) fn publish<T>(&self, action: impl FnOnce(&Path) -> T) -> io::Result<T> {
        live(|_| action(self.path()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It is listed until it is gone: an interrupt meanwhile takes part in removing it. One that cannot be removed
        // is no reason to fail.
        let _ = fs::remove_dir_all(&self.path);
        let _ = live(|paths| paths.remove(&self.path));
    }
}

/// Removes every temporary folder and allows no more: for the moment before an interrupted program ends.
pub fn remove_all() {
    let paths = LIVE.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    for _ in 0..TRIES {
        // A thread that is still at work may make files again, so a folder counts as gone when it stayed away.
        let left =
            paths.iter().filter(|path| path.exists()).inspect(|path| drop(fs::remove_dir_all(path))).count();
        if left == 0 {
            return;
        }
        std::thread::sleep(PAUSE);
    }
}

fn live<T>(change: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> io::Result<T> {
    let mut live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
    let paths =
        live.as_mut().ok_or_else(|| io::Error::new(io::ErrorKind::Interrupted, "the program is ending"))?;
    Ok(change(paths))
}
