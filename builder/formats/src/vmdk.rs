//! Stream-optimized VMDK images (Virtual Disk Format 5.0): deflated grains of 64 KiB behind markers.
//!
//! The file is written strictly in order, so it can go into a pipe: header, descriptor, grains with each
//! grain table behind its grains, grain directory, footer, end of stream. Holes and zeroes are absent
//! grains. Hypervisors hash the stream while they parse it, so no byte may follow the last marker.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::blocks::{self, Codec, Encoded, Framing};
use crate::{Content, Seed, Sparse};

const SECTOR: usize = 512;
const GRAIN_SECTORS: u64 = 128;
const GRAIN: usize = 128 * SECTOR;
/// Entries of a grain table: 4 sectors of 32-bit sector numbers.
const TABLE_ENTRIES: u32 = 512;
const TABLE_SECTORS: u64 = 4;
/// "KDMV" read as a little-endian number is "VMDK".
const MAGIC: [u8; 4] = *b"KDMV";
/// Importers take compressed extents with markers as version 3 only.
const VERSION: u32 = 3;
/// Bit 0: line-end detection bytes are valid. Bit 16: grains are compressed. Bit 17: markers are present.
const FLAGS: u32 = 1 | 1 << 16 | 1 << 17;
const DEFLATE: u16 = 1;
/// The directory follows the grains and its place is told by the footer.
const DIRECTORY_AT_END: u64 = u64::MAX;
const DESCRIPTOR_SECTOR: u64 = 1;
const DESCRIPTOR_SECTORS: u64 = 20;
/// The first grain starts on a grain boundary.
const OVERHEAD_SECTORS: u64 = GRAIN_SECTORS;
/// The name by which the descriptor calls its own extent: the file's name inside a package. Readers of a
/// file on its own ignore it.
pub const EXTENT_NAME: &str = "disk.vmdk";

/// Why a VMDK image was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VmdkError {
    /// The capacity has to be a whole number of grains.
    #[error("a vmdk image of {len} bytes is not a multiple of {GRAIN} bytes")]
    Unaligned {
        /// The length of the image in bytes.
        len: u64,
    },
    /// A sector number does not fit in the 32 bits of a grain table.
    #[error("a vmdk file grew past 2 TiB")]
    TooLarge,
    /// Reading the image or writing the file failed.
    #[error("cannot write a vmdk image")]
    Io(#[from] io::Error),
}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Bytes of the grains that are present, uncompressed.
    pub populated: u64,
    /// Bytes of the file.
    pub file_len: u64,
}

/// Marks a run of metadata sectors in the stream.
#[derive(Clone, Copy)]
#[repr(u32)]
enum Marker {
    EndOfStream = 0,
    GrainTable = 1,
    GrainDirectory = 2,
    Footer = 3,
}

/// Writes `image`; the content identifiers come from `seed`.
pub fn write(image: &Sparse, seed: &Seed, out: &mut impl Write) -> Result<Stats, VmdkError> {
    if !image.len().is_multiple_of(GRAIN as u64) {
        return Err(VmdkError::Unaligned { len: image.len() });
    }
    let capacity = image.len() / SECTOR as u64;
    let tables = capacity.div_ceil(GRAIN_SECTORS * u64::from(TABLE_ENTRIES));
    let tables = usize::try_from(tables).map_err(|_| VmdkError::TooLarge)?;

    let mut writer = Writer { out, sector: 0, directory: vec![0; tables], table: None, grains: 0 };
    writer.put(&header(capacity, DIRECTORY_AT_END))?;
    writer.put(descriptor(capacity, seed).as_bytes())?;
    let gap = OVERHEAD_SECTORS - writer.sector;
    writer.put(&vec![0; SECTOR * usize::try_from(gap).expect("the overhead is 128 sectors")])?;

    // The format stores compressed grains only, even when they grow.
    let codec = Codec { block_len: GRAIN, framing: Framing::Zlib, max_deflated: usize::MAX };
    blocks::for_each(image, codec, blocks::threads(), |index, encoded| match encoded {
        Encoded::Deflated(bytes) | Encoded::Plain(bytes) => writer.put_grain(index, &bytes),
    })?;
    writer.finish(capacity)?;
    Ok(Stats {
        capacity: image.len(),
        populated: writer.grains * GRAIN as u64,
        file_len: writer.sector * SECTOR as u64,
    })
}

struct Writer<'a, W> {
    out: &'a mut W,
    /// The sector that is written next.
    sector: u64,
    /// The sector of each grain table; zero when all its grains are absent.
    directory: Vec<u32>,
    /// The table being filled, with its place in the directory.
    table: Option<(usize, Vec<u32>)>,
    grains: u64,
}

impl<W: Write> Writer<'_, W> {
    /// Writes bytes and fills their last sector with zeroes.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let sectors = bytes.len().div_ceil(SECTOR);
        self.out.write_all(&[0; SECTOR][..sectors * SECTOR - bytes.len()])?;
        self.sector += sectors as u64;
        Ok(())
    }

    fn put_marker(&mut self, marker: Marker, sectors: u64) -> io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&sectors.to_le_bytes());
        // Bytes 8 to 12 are a size of zero: this is no grain.
        bytes[12..].copy_from_slice(&(marker as u32).to_le_bytes());
        self.put(&bytes)
    }

    fn put_sectors(&mut self, entries: &[u32]) -> io::Result<()> {
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_le_bytes()).collect();
        self.put(&bytes)
    }

    fn here(&self) -> Result<u32, VmdkError> {
        u32::try_from(self.sector).map_err(|_| VmdkError::TooLarge)
    }

    fn put_grain(&mut self, index: u64, deflated: &[u8]) -> Result<(), VmdkError> {
        let entries = u64::from(TABLE_ENTRIES);
        let wanted = usize::try_from(index / entries).map_err(|_| VmdkError::TooLarge)?;
        let entry = usize::try_from(index % entries).expect("a table has 512 entries");
        if self.table.as_ref().is_none_or(|(place, _)| *place != wanted) {
            self.flush_table()?;
        }
        let here = self.here()?;
        let (_, table) = self.table.get_or_insert_with(|| (wanted, vec![0; TABLE_ENTRIES as usize]));
        table[entry] = here;
        self.grains += 1;

        let size = u32::try_from(deflated.len()).expect("a deflated grain has about 64 KiB");
        let mut bytes = Vec::with_capacity(deflated.len() + 2 * SECTOR);
        bytes.extend((index * GRAIN_SECTORS).to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(deflated);
        bytes.resize(bytes.len().next_multiple_of(SECTOR), 0);
        Ok(self.put(&bytes)?)
    }

    fn flush_table(&mut self) -> Result<(), VmdkError> {
        let Some((place, table)) = self.table.take() else {
            return Ok(());
        };
        self.put_marker(Marker::GrainTable, TABLE_SECTORS)?;
        self.directory[place] = self.here()?;
        Ok(self.put_sectors(&table)?)
    }

    fn finish(&mut self, capacity: u64) -> Result<(), VmdkError> {
        self.flush_table()?;
        let directory = std::mem::take(&mut self.directory);
        self.put_marker(Marker::GrainDirectory, (directory.len() * 4).div_ceil(SECTOR) as u64)?;
        let place = u64::from(self.here()?);
        self.put_sectors(&directory)?;
        self.put_marker(Marker::Footer, 1)?;
        self.put(&header(capacity, place))?;
        self.put_marker(Marker::EndOfStream, 0)?;
        Ok(self.out.flush()?)
    }
}

/// The sparse extent header, which is the footer too once the directory has a place.
fn header(capacity: u64, directory: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SECTOR);
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(FLAGS.to_le_bytes());
    bytes.extend(capacity.to_le_bytes());
    bytes.extend(GRAIN_SECTORS.to_le_bytes());
    bytes.extend(DESCRIPTOR_SECTOR.to_le_bytes());
    bytes.extend(DESCRIPTOR_SECTORS.to_le_bytes());
    bytes.extend(TABLE_ENTRIES.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes()); // no redundant directory
    bytes.extend(directory.to_le_bytes());
    bytes.extend(OVERHEAD_SECTORS.to_le_bytes());
    bytes.push(0); // shut down cleanly
    bytes.extend(b"\n \r\n"); // a transfer that changes line ends breaks these
    bytes.extend(DEFLATE.to_le_bytes());
    bytes.resize(SECTOR, 0);
    bytes
}

/// The embedded descriptor, as text.
fn descriptor(capacity: u64, seed: &Seed) -> String {
    let id = seed.bytes("vmdk content");
    let word = |at: usize| u32::from_be_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
    // All ones means "no parent", and all ones but the last bit is reserved: the top bit stays clear.
    let cid = word(0) >> 1;
    // Any disk above 4 GiB has 255 heads and 63 sectors, and the count of cylinders is 16 bits.
    let cylinders = capacity.div_ceil(255 * 63).min(65535);
    format!(
        "\
# Disk DescriptorFile
version=1
encoding=\"UTF-8\"
CID={cid:08x}
parentCID=ffffffff
createType=\"streamOptimized\"

# Extent description
RW {capacity} SPARSE \"{EXTENT_NAME}\"

# The Disk Data Base
#DDB

ddb.longContentID = \"{:08x}{:08x}{:08x}{cid:08x}\"
ddb.virtualHWVersion = \"4\"
ddb.geometry.cylinders = \"{cylinders}\"
ddb.geometry.heads = \"255\"
ddb.geometry.sectors = \"63\"
ddb.adapterType = \"lsilogic\"
ddb.toolsInstallType = \"4\"
ddb.toolsVersion = \"2147483647\"
",
        word(4),
        word(8),
        word(12),
    )
}

/// The header and the descriptor of a VMDK image as text.
pub fn dump(image: &Content) -> io::Result<String> {
    let mut bytes = [0; SECTOR];
    image.read_exact_at(&mut bytes, 0)?;
    let number = |offset: usize, len: usize| {
        bytes[offset..offset + len].iter().rev().fold(0_u64, |value, byte| value << 8 | u64::from(*byte))
    };
    let mut text = format!("magic {:?}\n", String::from_utf8_lossy(&bytes[..4]));
    for (name, offset, len) in [
        ("version", 4, 4),
        ("flags", 8, 4),
        ("capacity", 12, 8),
        ("grainSize", 20, 8),
        ("descriptorOffset", 28, 8),
        ("descriptorSize", 36, 8),
        ("numGTEsPerGT", 44, 4),
        ("rgdOffset", 48, 8),
        ("gdOffset", 56, 8),
        ("overHead", 64, 8),
        ("uncleanShutdown", 72, 1),
        ("compressAlgorithm", 77, 2),
    ] {
        writeln!(text, "{name} {:#x}", number(offset, len)).map_err(io::Error::other)?;
    }
    let sector = SECTOR as u64;
    let descriptor = image.slice(DESCRIPTOR_SECTOR * sector, DESCRIPTOR_SECTORS * sector).to_vec()?;
    text.push('\n');
    text.push_str(String::from_utf8_lossy(&descriptor).trim_end_matches('\0'));
    Ok(text)
}

#[cfg(test)]
mod tests;
