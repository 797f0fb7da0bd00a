//! How far a destination has the lines of a buffer: a file of two slots that are written in turn, so that a write which a
//! crash tore leaves the one before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Bytes of a slot: turn, segment, offset, sent (u64, little-endian), CRC-32 of these.
const SLOT: usize = 36;
/// The slots lie in blocks of their own.
const APART: u64 = 512;

/// A place between two frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes of it.
    pub offset: u64,
}

#[derive(Debug)]
pub(super) struct CursorFile {
    file: File,
    turn: u64,
    pub(super) mark: Mark,
    /// Lines that the destination has.
    pub(super) sent: u64,
}

impl CursorFile {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(dir.join("cursor"))?;
        let mut cursor = Self { file, turn: 0, mark: Mark::default(), sent: 0 };
        for place in [0, APART] {
            let mut slot = [0; SLOT];
            if cursor.file.read_exact_at(&mut slot, place).is_err() {
                continue;
            }
            let number =
                |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("a number has 8 bytes"));
            let is_whole = crc32fast::hash(&slot[..32]).to_le_bytes() == slot[32..];
            if is_whole && number(0) > cursor.turn {
                cursor.turn = number(0);
                cursor.mark = Mark { segment: number(8), offset: number(16) };
                cursor.sent = number(24);
            }
        }
        Ok(cursor)
    }

    pub(super) fn save(&mut self) -> io::Result<()> {
        self.turn += 1;
        let mut slot = [0; SLOT];
        let numbers = [self.turn, self.mark.segment, self.mark.offset, self.sent];
        for (place, number) in slot.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32fast::hash(&slot[..32]);
        slot[32..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_all_at(&slot, self.turn % 2 * APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_write_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = CursorFile::open(dir.path()).unwrap();
        for sent in 1..=3 {
            cursor.mark = Mark { segment: sent * 10, offset: sent };
            cursor.sent = sent;
            cursor.save().unwrap();
        }
        let read = CursorFile::open(dir.path()).unwrap();
        assert_eq!((read.mark, read.sent), (Mark { segment: 30, offset: 3 }, 3));
        let file = OpenOptions::new().write(true).open(dir.path().join("cursor")).unwrap();
        file.write_all_at(b"xxxx", APART + 20).unwrap();
        let read = CursorFile::open(dir.path()).unwrap();
        assert_eq!((read.mark, read.sent), (Mark { segment: 20, offset: 2 }, 2));
    }
}
