//! QCOW2 images, version 3 (QEMU docs/interop/qcow2.txt): clusters of 64 KiB, deflated, holes unallocated.
//!
//! Clusters are deflated with the format's first compression type (raw deflate), not zstd: every reader
//! knows it, while type 1 sets an incompatible bit that older and smaller readers refuse, and the bulk of
//! an image is a compressed root already, so zstd would gain next to nothing.
//! No table grows with the image except L1 and the refcounts (2 bytes for each 64 KiB written).

use std::fmt::Write as _;
use std::io::{self, Seek, SeekFrom, Write};

use crate::blocks::{self, Codec, Encoded, Framing};
use crate::{Content, Sparse};

const MAGIC: [u8; 4] = *b"QFI\xfb";
const CLUSTER_BITS: u32 = 16;
const CLUSTER: usize = 1 << CLUSTER_BITS;
const CLUSTER_U64: u64 = CLUSTER as u64;
/// Entries of an L2 table, which is one cluster of 8-byte entries.
const L2_ENTRIES: usize = CLUSTER / 8;
/// Refcounts of 16 bits (`refcount_order` 4) in one refcount block.
const REFCOUNTS_PER_BLOCK: usize = CLUSTER / 2;
const REFCOUNT_ORDER: u32 = 4;
const HEADER_LEN: usize = 104;
/// Set in L1 and L2 entries whose cluster has a refcount of exactly one.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// Where the number of additional sectors starts in a compressed entry: 62 - (cluster bits - 8).
const SECTORS_SHIFT: u32 = 62 - (CLUSTER_BITS - 8);
const SECTOR: u64 = 512;
/// Readers inflate a cluster on every access, so a cluster must shrink by a sixteenth to be worth it.
const MAX_DEFLATED: usize = CLUSTER - CLUSTER / 16;

/// Why a QCOW2 image was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Qcow2Error {
    /// The virtual size has to be a whole number of sectors.
    #[error("a qcow2 image of {len} bytes is not a multiple of {SECTOR} bytes")]
    Unaligned {
        /// The length of the image in bytes.
        len: u64,
    },
    /// Reading the image or writing the file failed.
    #[error("cannot write a qcow2 image")]
    Io(#[from] io::Error),
}

/// Writes `image` into the empty file `out`, from its first byte on.
pub fn write(image: &Sparse, out: &mut (impl Write + Seek)) -> Result<(), Qcow2Error> {
    if !image.len().is_multiple_of(SECTOR) {
        return Err(Qcow2Error::Unaligned { len: image.len() });
    }
    let codec = Codec { block_len: CLUSTER, framing: Framing::RawSmallWindow, max_deflated: MAX_DEFLATED };
    let mut writer = Writer::new(image.len(), out);
    blocks::for_each(image, codec, blocks::threads(), |index, encoded| writer.put(index, &encoded))?;
    Ok(writer.finish()?)
}

/// Places clusters in the order they come: data, each L2 table after its data, then L1 and refcounts.
struct Writer<'a, W> {
    out: &'a mut W,
    /// Where the next byte of `out` goes.
    position: u64,
    len: u64,
    /// One count per allocated host cluster; its length is the next free cluster.
    refcounts: Vec<u16>,
    l1: Vec<u64>,
    l2: Vec<u64>,
    /// The L1 index of the table in `l2`.
    l2_of: usize,
    /// The free bytes in the host clusters that hold compressed ones.
    gap: std::ops::Range<u64>,
}

impl<'a, W: Write + Seek> Writer<'a, W> {
    fn new(len: u64, out: &'a mut W) -> Self {
        let tables = len.div_ceil(CLUSTER_U64 * L2_ENTRIES as u64).max(1);
        Self {
            out,
            position: 0,
            len,
            refcounts: vec![1], // the header
            l1: vec![0; usize::try_from(tables).expect("an L1 table fits in memory")],
            l2: vec![0; L2_ENTRIES],
            l2_of: 0,
            gap: 0..0,
        }
    }

    /// The offset just behind the last allocated cluster.
    fn end(&self) -> u64 {
        self.refcounts.len() as u64 * CLUSTER_U64
    }

    /// Allocates adjacent clusters with one reference each and gives their offset.
    fn allocate(&mut self, clusters: usize) -> u64 {
        let offset = self.end();
        self.refcounts.resize(self.refcounts.len() + clusters, 1);
        offset
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if offset != self.position {
            self.out.seek(SeekFrom::Start(offset))?;
        }
        self.out.write_all(bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }

    fn write_table(&mut self, offset: u64, entries: &[u64]) -> io::Result<()> {
        let mut bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        bytes.resize(bytes.len().next_multiple_of(CLUSTER), 0);
        self.write_at(offset, &bytes)
    }

    fn put(&mut self, index: u64, encoded: &Encoded) -> io::Result<()> {
        let index = usize::try_from(index).map_err(io::Error::other)?;
        if self.l2_of != index / L2_ENTRIES {
            self.flush_l2()?;
            self.l2_of = index / L2_ENTRIES;
        }
        self.l2[index % L2_ENTRIES] = match encoded {
            Encoded::Plain(bytes) => {
                let offset = self.allocate(1);
                self.write_at(offset, bytes)?;
                offset | COPIED
            }
            Encoded::Deflated(bytes) => self.pack(bytes)?,
        };
        Ok(())
    }

    /// Puts a compressed cluster right behind the one before it, whatever the host cluster, and gives its
    /// L2 entry. Readers count one reference for each host cluster that its sectors touch.
    fn pack(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let len = bytes.len() as u64;
        if self.gap.end - self.gap.start < len {
            if self.gap.end != self.end() {
                self.gap = self.end()..self.end();
            }
            while self.gap.end - self.gap.start < len {
                // References come from the entries below, not from the allocation.
                self.refcounts.push(0);
                self.gap.end += CLUSTER_U64;
            }
        }
        let offset = self.gap.start;
        self.write_at(offset, bytes)?;
        self.gap.start += len;
        for cluster in offset / CLUSTER_U64..self.gap.start.div_ceil(CLUSTER_U64) {
            self.refcounts[usize::try_from(cluster).map_err(io::Error::other)?] += 1;
        }
        let sectors = self.gap.start.div_ceil(SECTOR) - offset / SECTOR;
        Ok(COMPRESSED | (sectors - 1) << SECTORS_SHIFT | offset)
    }

    fn flush_l2(&mut self) -> io::Result<()> {
        if self.l2.iter().all(|entry| *entry == 0) {
            return Ok(());
        }
        let offset = self.allocate(1);
        let table = std::mem::replace(&mut self.l2, vec![0; L2_ENTRIES]);
        self.write_table(offset, &table)?;
        self.l1[self.l2_of] = offset | COPIED;
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.flush_l2()?;
        let l1 = std::mem::take(&mut self.l1);
        let l1_offset = self.allocate((l1.len() * 8).div_ceil(CLUSTER));
        self.write_table(l1_offset, &l1)?;

        let (table_clusters, block_count) = refcount_layout(self.refcounts.len());
        let table_offset = self.allocate(table_clusters);
        let blocks_offset = self.allocate(block_count);
        let blocks: Vec<u64> =
            (0..block_count).map(|block| blocks_offset + block as u64 * CLUSTER_U64).collect();
        self.write_table(table_offset, &blocks)?;
        let counts = std::mem::take(&mut self.refcounts);
        for (offset, counts) in blocks.iter().zip(counts.chunks(REFCOUNTS_PER_BLOCK)) {
            let mut bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_be_bytes()).collect();
            bytes.resize(CLUSTER, 0);
            self.write_at(*offset, &bytes)?;
        }

        let header = header(self.len, (l1.len(), l1_offset), (table_clusters, table_offset))?;
        self.write_at(0, &header)?;
        self.out.flush()
    }
}

/// Clusters of the refcount table and number of refcount blocks, which count themselves too.
fn refcount_layout(used: usize) -> (usize, usize) {
    let (mut table, mut blocks) = (1, 1);
    loop {
        let wanted = (used + table + blocks).div_ceil(REFCOUNTS_PER_BLOCK);
        if wanted == blocks {
            return (table, blocks);
        }
        blocks = wanted;
        table = (blocks * 8).div_ceil(CLUSTER);
    }
}

/// The header cluster: fields, then the end-of-extensions mark and zeroes.
fn header(len: u64, l1: (usize, u64), refcounts: (usize, u64)) -> io::Result<Vec<u8>> {
    let u32_of = |value: usize| u32::try_from(value).map_err(io::Error::other);
    let mut bytes = Vec::with_capacity(CLUSTER);
    bytes.extend(MAGIC);
    bytes.extend(3_u32.to_be_bytes());
    bytes.extend([0; 12]); // no backing file: offset and length of its name
    bytes.extend(CLUSTER_BITS.to_be_bytes());
    bytes.extend(len.to_be_bytes());
    bytes.extend([0; 4]); // not encrypted
    bytes.extend(u32_of(l1.0)?.to_be_bytes());
    bytes.extend(l1.1.to_be_bytes());
    bytes.extend(refcounts.1.to_be_bytes());
    bytes.extend(u32_of(refcounts.0)?.to_be_bytes());
    bytes.extend([0; 12]); // no snapshots: count and offset
    bytes.extend([0; 24]); // no incompatible, compatible or autoclear features
    bytes.extend(REFCOUNT_ORDER.to_be_bytes());
    bytes.extend(u32_of(HEADER_LEN)?.to_be_bytes());
    bytes.resize(CLUSTER, 0);
    Ok(bytes)
}

/// The header of a QCOW2 image as text, one field on a line.
pub fn dump(image: &Content) -> io::Result<String> {
    let mut bytes = [0; HEADER_LEN];
    image.read_exact_at(&mut bytes, 0)?;
    let number = |offset: usize, len: usize| {
        bytes[offset..offset + len].iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let mut text = format!("magic {:?}\n", String::from_utf8_lossy(&bytes[..4]));
    for (name, offset, len) in [
        ("version", 4, 4),
        ("backing_file_offset", 8, 8),
        ("cluster_bits", 20, 4),
        ("size", 24, 8),
        ("crypt_method", 32, 4),
        ("l1_size", 36, 4),
        ("l1_table_offset", 40, 8),
        ("refcount_table_offset", 48, 8),
        ("refcount_table_clusters", 56, 4),
        ("nb_snapshots", 60, 4),
        ("incompatible_features", 72, 8),
        ("compatible_features", 80, 8),
        ("autoclear_features", 88, 8),
        ("refcount_order", 96, 4),
        ("header_length", 100, 4),
    ] {
        writeln!(text, "{name} {}", number(offset, len)).map_err(io::Error::other)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
