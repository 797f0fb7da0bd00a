//! How far a container's log was passed on, in a file beside it: whoever follows it next neither repeats nor loses lines.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Bytes of the file: inode and offset, little-endian.
const SIZE: usize = 16;

/// A place in a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which file; a log that was moved aside keeps its number.
    pub inode: u64,
    /// Bytes of it that were passed on.
    pub offset: u64,
}

/// The file.
#[derive(Debug)]
pub struct Position(File);

impl Position {
    /// Opens the file, with the place in it; the start of no file when there is none.
    pub fn open(path: &Path) -> io::Result<(Self, Place)> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = [0; SIZE];
        let place = match file.read_exact_at(&mut bytes, 0) {
            Ok(()) => parse(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Place::default(),
            Err(error) => return Err(error),
        };
        Ok((Self(file), place))
    }

    /// Writes a place down.
    pub fn save(&self, place: Place) -> io::Result<()> {
        let mut bytes = [0; SIZE];
        bytes[..8].copy_from_slice(&place.inode.to_le_bytes());
        bytes[8..].copy_from_slice(&place.offset.to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }
}

fn parse(bytes: [u8; SIZE]) -> Place {
    let (inode, offset) = bytes.split_at(8);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("a half has 8 bytes"));
    Place { inode: number(inode), offset: number(offset) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("position");
        let (position, place) = Position::open(&path).unwrap();
        assert_eq!(place, Place::default());
        let place = Place { inode: 1 << 40, offset: 7 };
        position.save(place).unwrap();
        assert_eq!(Position::open(&path).unwrap().1, place);
        std::fs::write(&path, "x").unwrap();
        assert_eq!(Position::open(&path).unwrap().1, Place::default());
    }
}
