//! Segment files: their names, and what is known of each without reading it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// What is known of a segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) bytes: u64,
    /// Frames besides the head.
    pub(super) frames: u64,
    /// Lines in it, by source.
    pub(super) lines: BTreeMap<String, u64>,
}

impl Segment {
    /// One with nothing but a head.
    pub(super) fn new(number: u64, bytes: u64) -> Self {
        Self { number, bytes, frames: 0, lines: BTreeMap::new() }
    }

    /// A frame was added.
    pub(super) fn take(&mut self, key: &str, lines: u64, bytes: u64) {
        self.frames += 1;
        self.bytes += bytes;
        match self.lines.get_mut(key) {
            Some(count) => *count += lines,
            None => drop(self.lines.insert(key.to_owned(), lines)),
        }
    }

    /// Lines in it are nobody's concern any more.
    pub(super) fn forgive(&mut self, key: &str, lines: u64) {
        if let Some(count) = self.lines.get_mut(key) {
            *count = count.saturating_sub(lines);
        }
    }
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.segment"))
}

/// Numbers of all segments in a folder, the oldest first.
pub(super) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    #[expect(clippy::disallowed_methods, reason = "sorted below")]
    let entries = fs::read_dir(dir)?;
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".segment"));
        numbers.extend(number.and_then(|number| u64::from_str_radix(number, 16).ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// A new one, with its head.
pub(super) fn create(dir: &Path, number: u64, head: &[u8]) -> io::Result<File> {
    // Logs may hold secrets.
    let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(path(dir, number))?;
    if let Err(error) = file.write_all(head) {
        remove(dir, number)?;
        return Err(error);
    }
    Ok(file)
}

/// One that is there, to be written on.
pub(super) fn open(dir: &Path, number: u64) -> io::Result<File> {
    OpenOptions::new().append(true).open(path(dir, number))
}

pub(super) fn remove(dir: &Path, number: u64) -> io::Result<()> {
    match fs::remove_file(path(dir, number)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
