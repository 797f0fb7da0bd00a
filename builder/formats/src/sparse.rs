//! A disk image as a value: a length and the places where bytes are; everything else reads as zero.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;

use crate::content::Content;

/// Bytes moved at a time: large enough for disks, small enough for memory.
const COPY_BYTES: usize = 1 << 20;

/// An image of `len` bytes made of extents that never overlap.
#[derive(Clone, Debug)]
pub struct Sparse {
    len: u64,
    extents: BTreeMap<u64, Content>,
}

impl Sparse {
    /// An image of zeroes.
    pub fn new(len: u64) -> Self {
        Self { len, extents: BTreeMap::new() }
    }

    /// Length in bytes, holes included.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True for an image of no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Places bytes at `offset`.
    ///
    /// # Panics
    /// When they overlap other bytes or pass the end: the caller computed a wrong layout.
    pub fn put(&mut self, offset: u64, content: impl Into<Content>) {
        let content = content.into();
        if content.is_empty() {
            return;
        }
        let end = offset + content.len();
        assert!(end <= self.len, "extent {offset}+{} passes the end of {} bytes", content.len(), self.len);
        let before = self.extents.range(..end).next_back();
        let free = before.is_none_or(|(start, other)| start + other.len() <= offset);
        assert!(free, "extent {offset}+{} overlaps another", content.len());
        self.extents.insert(offset, content);
    }

    /// Places another image at `offset`; its holes stay holes.
    pub fn place(&mut self, offset: u64, other: &Self) {
        assert!(offset + other.len <= self.len, "image of {} bytes does not fit at {offset}", other.len);
        for (at, content) in other.extents() {
            self.put(offset + at, content.clone());
        }
    }

    /// The extents in order of their offsets.
    pub fn extents(&self) -> impl Iterator<Item = (u64, &Content)> {
        self.extents.iter().map(|(offset, content)| (*offset, content))
    }

    /// True when no extent touches `offset..offset + len`.
    pub fn is_hole(&self, offset: u64, len: u64) -> bool {
        let before = self.extents.range(..offset + len).next_back();
        before.is_none_or(|(start, content)| start + content.len() <= offset)
    }

    /// Fills `buf` from `offset`; holes and bytes past the end read as zero.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.fill(0);
        let end = offset + buf.len() as u64;
        let first = self.extents.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        for (start, content) in self.extents.range(first..end) {
            let from = offset.max(*start);
            let to = end.min(start + content.len());
            if from < to {
                let target = index(from - offset)?..index(to - offset)?;
                content.read_exact_at(&mut buf[target], from - start)?;
            }
        }
        Ok(())
    }

    /// Writes into an empty file, leaving holes where there are no bytes.
    pub fn write_to_file(&self, file: &File) -> io::Result<()> {
        file.set_len(self.len)?;
        let mut buf = vec![0; COPY_BYTES];
        for (start, content) in self.extents() {
            let mut done = 0;
            while done < content.len() {
                let count = index((content.len() - done).min(COPY_BYTES as u64))?;
                content.read_exact_at(&mut buf[..count], done)?;
                file.write_all_at(&buf[..count], start + done)?;
                done += count as u64;
            }
        }
        Ok(())
    }

    /// Writes every byte in order, zeroes included.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        io::copy(&mut self.reader(), out).map(|_| ())
    }

    /// A reader over every byte, zeroes included.
    pub fn reader(&self) -> Reader<'_> {
        Reader { image: self, offset: 0 }
    }
}

/// Reads a `Sparse` in order.
#[derive(Debug)]
pub struct Reader<'a> {
    image: &'a Sparse,
    offset: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.image.len - self.offset).unwrap_or(usize::MAX);
        let count = left.min(buf.len());
        self.image.read_at(&mut buf[..count], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

fn index(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_extents_and_holes() {
        let mut image = Sparse::new(16);
        image.put(4, vec![1, 2, 3]);
        image.put(7, vec![4]);
        let mut all = Vec::new();
        image.write_to(&mut all).unwrap();
        assert_eq!(all, [0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut part = [9; 4];
        image.read_at(&mut part, 6).unwrap();
        assert_eq!(part, [3, 4, 0, 0]);
        assert!(image.is_hole(0, 4) && image.is_hole(8, 8) && !image.is_hole(0, 5));
    }

    #[test]
    #[should_panic(expected = "overlaps")]
    fn refuses_an_overlap() {
        let mut image = Sparse::new(16);
        image.put(4, vec![1, 2, 3]);
        image.put(2, vec![1, 2, 3]);
    }
}
