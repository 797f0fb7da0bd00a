//! The files of one log: the one that grows, and those that were moved aside, as kubelet (`NAME.TIME`, then `NAME.TIME.gz`),
//! the runtime (`NAME.1`) and PID 1 (`NAME.1` to `NAME.3`) do it. They are opened as soon as they are seen: an open file can be
//! read to its end, whoever removes it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Times that the files are listed again when they change meanwhile.
const TRIES: u32 = 5;

/// An open file of a log.
#[derive(Debug)]
pub struct Opened {
    /// It.
    pub file: File,
    /// Its number.
    pub inode: u64,
    /// Whether it must be unpacked.
    pub is_compressed: bool,
}

impl Opened {
    fn open(path: &Path) -> io::Result<Option<Self>> {
        // A pipe in the place of a log must not keep anybody waiting.
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = file.metadata()?;
        let is_compressed = path.extension().is_some_and(|ending| ending == "gz");
        Ok(data.is_file().then(|| Self { file, inode: data.ino(), is_compressed }))
    }

    /// Bytes of it now.
    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// CRC-32 of its first bytes; none when there are not so many.
    pub fn head_crc(&self, len: u32) -> Option<u32> {
        let mut bytes = vec![0; usize::try_from(len).ok()?.min(super::head::MAX)];
        let read = if self.is_compressed {
            use std::io::Read as _;
            let mut again = flate2::read::MultiGzDecoder::new(At { file: &self.file, offset: 0 });
            again.read_exact(&mut bytes)
        } else {
            self.file.read_exact_at(&mut bytes, 0)
        };
        read.ok().map(|()| crc32fast::hash(&bytes))
    }
}

/// Reads a file from a place of its own.
#[derive(Debug)]
pub struct At<F> {
    /// The file.
    pub file: F,
    /// Where.
    pub offset: u64,
}

impl io::Read for At<&File> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

impl io::Read for At<Arc<Opened>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// Which files of a log are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// All.
    All,
    /// Those that are not compressed.
    Plain,
}

/// Opens the files of a log, the oldest first. The last one is the one that grows, if it is there.
pub fn open(path: &Path, which: Which) -> io::Result<Vec<Arc<Opened>>> {
    let mut before = open_once(path, which)?;
    for _ in 0..TRIES {
        let after = open_once(path, which)?;
        let is_same = before.len() == after.len()
            && before.iter().zip(&after).all(|(one, other)| one.inode == other.inode);
        if is_same {
            break;
        }
        // Somebody renamed them while they were opened.
        before = after;
    }
    Ok(before)
}

fn open_once(path: &Path, which: Which) -> io::Result<Vec<Arc<Opened>>> {
    let mut opened: Vec<Arc<Opened>> = Vec::new();
    for path in names(path, which)? {
        if let Some(file) = Opened::open(&path)?
            && opened.iter().all(|other| other.inode != file.inode)
        {
            opened.push(Arc::new(file));
        }
    }
    Ok(opened)
}

/// Names of a log's files, the oldest first.
fn names(path: &Path, which: Which) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    #[expect(clippy::disallowed_methods, reason = "sorted below")]
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        Err(error) => return Err(error),
    };
    let mut aside = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        let Some(file) = file.to_str() else { continue };
        let Some(ending) = file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')) else { continue };
        let plain = ending.strip_suffix(".gz");
        let stem = plain.unwrap_or(ending);
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let order = if stem.len() <= 4 && is_digits(stem) {
            // The highest number is the oldest.
            (0, 9999 - stem.parse::<u32>().unwrap_or_default(), String::new())
        } else if is_digits(&stem.replace('-', "")) {
            (1, 0, stem.to_owned())
        } else {
            continue;
        };
        aside.push((order, plain.is_some(), folder.join(file)));
    }
    aside.sort();
    // While one is being compressed there are both; the first is the one as it was.
    aside.dedup_by(|second, first| second.0 == first.0);
    found.extend(
        aside.into_iter().filter(|(_, packed, _)| which == Which::All || !packed).map(|(.., path)| path),
    );
    found.push(path.to_owned());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.log");
        for name in [
            "0.log",
            "0.log.20261129-101112",
            "0.log.20261128-101112.gz",
            "0.log.20261127-101112.gz",
            "0.log.20261127-101112",
            "0.log.20261126-101112.gz.tmp",
            "0.log.",
            "0.log.old",
            "0.log.2",
            "0.log.10",
            "1.log.20261129-101112",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let listed = |which| {
            let names = names(&path, which).unwrap();
            names
                .iter()
                .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let plain = ["0.log.10", "0.log.2", "0.log.20261127-101112", "0.log.20261129-101112", "0.log"];
        assert_eq!(listed(Which::Plain), plain);
        assert_eq!(listed(Which::All)[3], "0.log.20261128-101112.gz");
        assert_eq!(open(&path, Which::All).unwrap().len(), 6);
        assert!(open(&folder.path().join("none/0.log"), Which::All).unwrap().is_empty());
    }
}
