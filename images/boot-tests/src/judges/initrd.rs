//! Takes an initrd apart with readers that are not ours: the crates `zstd` and `cpio`.
//!
//! It must be one compressed archive, then one plain one on a multiple of four bytes, and nothing else.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read};
use std::path::Path;

use cpio::newc;

use super::refuse;
use crate::context::TestError;

/// What an initrd holds: contents by path.
#[derive(Debug, Default)]
pub(super) struct Initrd {
    pub(super) compressed: BTreeMap<String, Vec<u8>>,
    pub(super) plain: BTreeMap<String, Vec<u8>>,
}

impl Initrd {
    /// Reads the initrd at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, TestError> {
        let bytes = std::fs::read(path).map_err(TestError::file("read", path))?;
        Self::parse(&bytes).map_err(|error| refuse("cpio", format!("{}: {error}", path.display())))
    }

    /// Reads an initrd in memory.
    pub(super) fn parse(mut bytes: &[u8]) -> io::Result<Self> {
        let mut decoder = zstd::Decoder::with_buffer(&mut bytes)?.single_frame();
        let mut first = Vec::new();
        decoder.read_to_end(&mut first)?;
        let compressed = archive(&mut first.as_slice())?;
        let zeroes = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.consume(zeroes);
        let plain = archive(&mut bytes)?;
        if zeroes > 3 || bytes.iter().any(|byte| *byte != 0) {
            return Err(io::Error::other("bytes outside of its two archives"));
        }
        Ok(Self { compressed, plain })
    }

    /// The file `name` of either archive.
    pub(super) fn file(&self, name: &str) -> Result<&[u8], TestError> {
        let found = self.compressed.get(name).or_else(|| self.plain.get(name));
        found.map(Vec::as_slice).ok_or_else(|| refuse("cpio", format!("no {name} in the initrd")))
    }

    /// Writes it as it was read.
    pub(super) fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = zstd::encode_all(pack(&self.compressed)?.as_slice(), 1)?;
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(pack(&self.plain)?);
        Ok(bytes)
    }
}

/// The regular files of one archive; the rest is known by its name only.
fn archive(bytes: &mut &[u8]) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let mut files = BTreeMap::new();
    loop {
        let mut reader = newc::Reader::new(&mut *bytes)?;
        if reader.entry().is_trailer() {
            reader.finish()?;
            return Ok(files);
        }
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        let name = reader.entry().name().to_owned();
        reader.finish()?;
        files.insert(name, content);
    }
}

fn pack(files: &BTreeMap<String, Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for (name, content) in files {
        let len = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut writer = newc::Builder::new(name).mode(0o100_755).write(&mut bytes, len);
        io::Write::write_all(&mut writer, content)?;
        writer.finish()?;
    }
    newc::trailer(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initrd() -> Initrd {
        let files = |name: &str, content: &[u8]| BTreeMap::from([(name.to_owned(), content.to_vec())]);
        Initrd { compressed: files("init", b"program"), plain: files("rootfs.erofs", &[7; 4097]) }
    }

    #[test]
    fn both_archives_are_read() {
        let read = Initrd::parse(&initrd().to_bytes().unwrap()).unwrap();
        assert_eq!(read.file("init").unwrap(), b"program");
        assert_eq!(read.file("rootfs.erofs").unwrap(), &[7; 4097]);
        assert!(read.file("other").is_err());
    }

    #[test]
    fn an_archive_that_is_cut_or_followed_by_anything_is_refused() {
        let mut bytes = initrd().to_bytes().unwrap();
        assert!(Initrd::parse(&bytes[..bytes.len() - 200]).is_err());
        bytes.push(1);
        assert!(Initrd::parse(&bytes).is_err());
    }
}
