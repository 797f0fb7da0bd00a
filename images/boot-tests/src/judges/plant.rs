//! Copies of artifacts to spoil: holes stay holes, so that a disk of a gibibyte costs what it holds.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// A copy of an artifact.
#[derive(Debug)]
pub(crate) struct Copy {
    file: File,
}

impl Copy {
    /// Copies `from` to the new file `to`.
    pub(crate) fn make(from: &Path, to: &Path) -> io::Result<Self> {
        let from = File::open(from)?;
        let file = File::create_new(to)?;
        copy_range(&from, 0, from.metadata()?.len(), &file)?;
        Self::open(to)
    }

    /// Opens a file that is a copy already.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().read(true).write(true).open(path)? })
    }

    /// Length in bytes.
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Cuts the file, or adds zeroes.
    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    /// Inverts one byte.
    pub(super) fn flip(&self, offset: u64) -> io::Result<()> {
        let [byte] = self.read(offset)?;
        self.write(offset, &[!byte])
    }

    /// `LEN` bytes from `offset`.
    pub(super) fn read<const LEN: usize>(&self, offset: u64) -> io::Result<[u8; LEN]> {
        let mut bytes = [0; LEN];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    /// Puts bytes at `offset`.
    pub(super) fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    /// Everything: for small files only.
    pub(super) fn read_all(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = &self.file;
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Other contents.
    pub(super) fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        self.file.set_len(0)?;
        self.write(0, bytes)
    }
}

/// Copies `len` bytes from `offset` of `from` into the empty file `to`; holes stay holes.
pub(super) fn copy_range(from: &File, offset: u64, len: u64, to: &File) -> io::Result<()> {
    to.set_len(len)?;
    let end = offset + len;
    let mut at = offset;
    while at < end {
        let data = match rustix::fs::seek(from, SeekFrom::Data(at)) {
            Ok(data) if data < end => data,
            // Only a hole is left.
            Ok(_) | Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(from, SeekFrom::Hole(data))?.min(end);
        let (mut reader, mut writer) = (from, to);
        reader.seek(io::SeekFrom::Start(data))?;
        writer.seek(io::SeekFrom::Start(data - offset))?;
        io::copy(&mut reader.take(hole - data), &mut writer)?;
        at = hole;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_bytes_stay_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        let source = File::create(&from).unwrap();
        source.set_len(64 << 20).unwrap();
        source.write_all_at(b"first", 10 << 20).unwrap();
        source.write_all_at(b"last", (64 << 20) - 4).unwrap();
        let to = dir.path().join("to");
        let copy = Copy::make(&from, &to).unwrap();
        assert_eq!(copy.len().unwrap(), 64 << 20);
        assert_eq!(&copy.read::<5>(10 << 20).unwrap(), b"first");
        assert_eq!(&copy.read::<4>((64 << 20) - 4).unwrap(), b"last");
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20);

        let part = File::create_new(dir.path().join("part")).unwrap();
        copy_range(&File::open(&from).unwrap(), (10 << 20) + 1, 1 << 20, &part).unwrap();
        assert_eq!(part.metadata().unwrap().len(), 1 << 20);
        let part = Copy::open(&dir.path().join("part")).unwrap();
        assert_eq!(&part.read::<5>(0).unwrap(), b"irst\0");
    }
}
