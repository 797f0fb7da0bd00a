//! Temporary folders that are removed when they are dropped, and also when the program is interrupted.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

/// Folders that exist now.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// How often a folder is tried again into which a dying tool still writes.
const TRIES: u32 = 20;

/// A temporary folder.
#[derive(Debug)]
pub struct Scratch {
    dir: TempDir,
}

impl Scratch {
    /// A new folder in `parent`, on the same file system as what will be renamed out of it.
    pub fn new_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
        live(|paths| paths.insert(dir.path().to_owned()));
        Ok(Self { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Gives it its final name, replacing nothing; it is then no longer temporary.
    pub(crate) fn rename_to(self, to: &Path) -> io::Result<()> {
        fs::rename(self.path(), to)?;
        // Nothing is left under the temporary name, so dropping has nothing to remove.
        Ok(())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        live(|paths| paths.remove(self.dir.path()));
    }
}

/// Removes every temporary folder: for the moment before an interrupted program ends.
pub fn remove_all() {
    let paths = live(std::mem::take);
    for _ in 0..TRIES {
        let left = paths.iter().filter(|path| fs::remove_dir_all(path).is_err() && path.exists()).count();
        if left == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn live<T>(change: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    change(&mut LIVE.lock().unwrap_or_else(PoisonError::into_inner))
}
