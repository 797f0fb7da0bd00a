//! Android's sparse image format, version 1.0 (`libsparse/sparse_format.h`): a file system's blocks without its zeroes.
//!
//! An image carries its empty state file system in this form, and a host unfolds it. Only raw chunks and holes are
//! written; anything else is refused when read.

use std::io;

use crate::content::Content;
use crate::sparse::Sparse;

/// Bytes of a block, in which chunks are counted.
const BLOCK: u64 = 4096;
const MAGIC: u32 = 0xed26_ff3a;
const FILE_HEADER: u16 = 28;
const CHUNK_HEADER: u16 = 12;
const RAW: u16 = 0xcac1;
const DONT_CARE: u16 = 0xcac3;

/// Why bytes are no sparse image.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("no sparse image: {0}")]
pub struct SimgError(&'static str);

/// The sparse form of `image`, whose length is a multiple of 4096 bytes below 16 TiB.
///
/// # Panics
/// When the length is none of that: the caller made the image.
pub fn write(image: &Sparse) -> io::Result<Vec<u8>> {
    assert!(image.len().is_multiple_of(BLOCK), "{} bytes are no whole number of blocks", image.len());
    let count = |blocks: u64| u32::try_from(blocks).map_err(io::Error::other);
    let mut chunks: Vec<(u16, u64, u64)> = Vec::new();
    let mut at = 0;
    for (start, end) in runs(image) {
        if at < start {
            chunks.push((DONT_CARE, at, start));
        }
        chunks.push((RAW, start, end));
        at = end;
    }
    if at < image.len() {
        chunks.push((DONT_CARE, at, image.len()));
    }
    let mut out = Vec::new();
    out.extend(MAGIC.to_le_bytes());
    for half in [1_u16, 0, FILE_HEADER, CHUNK_HEADER] {
        out.extend(half.to_le_bytes());
    }
    for word in [count(BLOCK)?, count(image.len() / BLOCK)?, count(chunks.len() as u64)?, 0] {
        out.extend(word.to_le_bytes());
    }
    for (kind, start, end) in chunks {
        let data = if kind == RAW { end - start } else { 0 };
        out.extend(kind.to_le_bytes());
        out.extend([0; 2]);
        out.extend(count((end - start) / BLOCK)?.to_le_bytes());
        out.extend(count(u64::from(CHUNK_HEADER) + data)?.to_le_bytes());
        let from = out.len();
        out.resize(from + usize::try_from(data).map_err(io::Error::other)?, 0);
        image.read_at(&mut out[from..], start)?;
    }
    Ok(out)
}

/// Ranges of whole blocks that cover all extents, in order, neighbours joined.
fn runs(image: &Sparse) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (offset, content) in image.extents() {
        let (start, end) = (offset / BLOCK * BLOCK, (offset + content.len()).next_multiple_of(BLOCK));
        match runs.last_mut() {
            Some(last) if last.1 >= start => last.1 = last.1.max(end),
            _ => runs.push((start, end)),
        }
    }
    runs
}

/// The image whose sparse form is `bytes`.
pub fn read(bytes: &[u8]) -> Result<Sparse, SimgError> {
    let mut rest = bytes;
    let header = take(&mut rest, u64::from(FILE_HEADER))?;
    if word(header, 0) != MAGIC || half(header, 4) != 1 || u64::from(word(header, 12)) != BLOCK {
        return Err(SimgError("another magic number, version or block size"));
    }
    if half(header, 8) != FILE_HEADER || half(header, 10) != CHUNK_HEADER {
        return Err(SimgError("headers of another size"));
    }
    let len = u64::from(word(header, 16)) * BLOCK;
    let mut image = Sparse::new(len);
    let mut at = 0;
    for _ in 0..word(header, 20) {
        let chunk = take(&mut rest, u64::from(CHUNK_HEADER))?;
        let bytes = u64::from(word(chunk, 4)) * BLOCK;
        if at + bytes > len {
            return Err(SimgError("a chunk passes the end"));
        }
        match half(chunk, 0) {
            RAW => image.put(at, Content::from(take(&mut rest, bytes)?)),
            DONT_CARE => {}
            _ => return Err(SimgError("a chunk that is neither raw nor a hole")),
        }
        at += bytes;
    }
    if at == len { Ok(image) } else { Err(SimgError("chunks end before the image")) }
}

fn take<'a>(rest: &mut &'a [u8], count: u64) -> Result<&'a [u8], SimgError> {
    let cut = SimgError("it was cut");
    let Ok(count) = usize::try_from(count) else { return Err(cut) };
    let (first, after) = rest.split_at_checked(count).ok_or(cut)?;
    *rest = after;
    Ok(first)
}

fn half(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Sparse {
        let mut image = Sparse::new(10 * BLOCK);
        image.put(1024, vec![1; 100]);
        image.put(3 * BLOCK, vec![2; 4096]);
        image.put(4 * BLOCK + 5, vec![3; 1]);
        image
    }

    #[test]
    fn unfolds_to_the_same_bytes() {
        let image = image();
        let bytes = write(&image).unwrap();
        assert_eq!(bytes[..4], [0x3a, 0xff, 0x26, 0xed]);
        assert_eq!(bytes.len(), 28 + 4 * 12 + 3 * 4096);
        let again = read(&bytes).unwrap();
        let all = |image: &Sparse| {
            let mut bytes = Vec::new();
            image.write_to(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(all(&again), all(&image));
    }

    #[test]
    fn damaged_images_are_refused() {
        let bytes = write(&image()).unwrap();
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "cut to {end} bytes");
        }
        for (at, value) in [(0, 0), (4, 2), (12, 1), (16, 9), (28, 0xff)] {
            let mut wrong = bytes.clone();
            wrong[at] = value;
            assert!(read(&wrong).is_err(), "byte {at}");
        }
    }
}
