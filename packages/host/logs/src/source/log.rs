//! One log and its files, shared by who watches for new files (`watch.rs`) and who reads them (`tail.rs`).

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::discover::Found;
use super::files::{self, Opened, Which};

/// A log.
#[derive(Debug)]
pub struct Log {
    /// What it is.
    pub found: Found,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Those that are not read to their end, the oldest first.
    queue: VecDeque<Arc<Opened>>,
    /// The newest.
    last: u64,
    /// All that were there at the last look.
    seen: Vec<u64>,
    is_gone: bool,
}

impl Log {
    /// Opens what there is, compressed files too.
    pub fn open(found: Found) -> io::Result<Self> {
        let opened = files::open(&found.path, Which::All)?;
        let files = Files {
            last: opened.last().map_or(0, |file| file.inode),
            seen: opened.iter().map(|file| file.inode).collect(),
            queue: opened.into(),
            is_gone: false,
        };
        Ok(Self { found, files: Mutex::new(files) })
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens what is new.
    pub fn refresh(&self) -> io::Result<()> {
        // While the file that grows is moved aside and the next one is not there yet, what is aside may be new, too.
        let inode = match fs::metadata(&self.found.path) {
            Ok(data) => Some(data.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if inode == Some(self.files().last) {
            self.files().is_gone = false;
            return Ok(());
        }
        let opened = files::open(&self.found.path, Which::Plain)?;
        let mut files = self.files();
        files.is_gone = opened.is_empty();
        let after = opened.iter().position(|file| file.inode == files.last).map(|place| place + 1);
        let new = match after {
            Some(place) => opened[place..].to_vec(),
            // Two or more came at once, and the last one is removed or compressed: what was not there before is new.
            None => opened.iter().filter(|file| !files.seen.contains(&file.inode)).cloned().collect(),
        };
        files.queue.extend(new);
        files.seen = opened.iter().map(|file| file.inode).collect();
        if let Some(last) = opened.last() {
            files.last = last.inode;
        }
        Ok(())
    }

    /// The files to read, the oldest first.
    pub fn queue(&self) -> Vec<Arc<Opened>> {
        self.files().queue.iter().cloned().collect()
    }

    /// The first file is read, unless it is the only one that there is.
    pub fn next_file(&self) {
        let mut files = self.files();
        if files.queue.len() > 1 {
            files.queue.pop_front();
        }
    }

    /// Drops all files before that one.
    pub fn begin_with(&self, inode: u64) {
        let mut files = self.files();
        while files.queue.len() > 1 && files.queue[0].inode != inode {
            files.queue.pop_front();
        }
    }

    /// Whether all its files were removed.
    pub fn is_gone(&self) -> bool {
        self.files().is_gone
    }
}
