//! Bytes of known length, in memory or in a file, read at any offset.
//!
//! Formats hold `Content`, never whole images, so that memory use does not grow with the image.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::sparse::Sparse;

/// A cheap handle on a run of bytes.
#[derive(Clone)]
pub struct Content {
    source: Source,
    start: u64,
    len: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Memory(Arc<[u8]>),
    File(Arc<File>),
    Image(Arc<Sparse>),
}

impl fmt::Debug for Content {
    /// Length only: the bytes may be millions.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes)", self.len)
    }
}

impl Content {
    /// The whole file at `path`; it must not change while the handle lives.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { source: Source::File(Arc::new(file)), start: 0, len })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True when there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The bytes `offset..offset + len` as a handle of their own.
    ///
    /// # Panics
    /// When the range does not lie inside: the caller computed a wrong layout.
    pub fn slice(&self, offset: u64, len: u64) -> Self {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "slice {offset}+{len} of {} bytes", self.len);
        Self { source: self.source.clone(), start: self.start + offset, len }
    }

    /// Fills `buf` from `offset`; an error when fewer bytes are there.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let wanted = buf.len() as u64;
        if offset.checked_add(wanted).is_none_or(|end| end > self.len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "read past the end of the content"));
        }
        match &self.source {
            Source::File(file) => file.read_exact_at(buf, self.start + offset),
            Source::Image(image) => image.read_at(buf, self.start + offset),
            Source::Memory(bytes) => {
                let from = usize::try_from(self.start + offset).map_err(io::Error::other)?;
                buf.copy_from_slice(&bytes[from..from + buf.len()]);
                Ok(())
            }
        }
    }

    /// All bytes in memory: only for small contents (headers, stubs, text).
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// A reader from the first byte to the last.
    pub fn reader(&self) -> Reader<'_> {
        Reader { content: self, offset: 0 }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self { source: Source::Memory(bytes.into()), start: 0, len }
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        bytes.to_vec().into()
    }
}

impl From<Sparse> for Content {
    fn from(image: Sparse) -> Self {
        let len = image.len();
        Self { source: Source::Image(image.into()), start: 0, len }
    }
}

/// Reads a `Content` in order.
#[derive(Debug)]
pub struct Reader<'a> {
    content: &'a Content,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.content.len - self.offset).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        self.content.read_exact_at(&mut buf[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
