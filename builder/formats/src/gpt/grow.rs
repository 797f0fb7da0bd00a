//! Growing the last partition of a disk image that was copied to a larger disk: what to write, in which order.
//!
//! The writes are groups; whoever carries them out flushes the disk's cache after each. Power may be lost at any
//! moment, and within a group any of the sectors may have reached the disk and others not:
//!
//! 1. The other sector size's header loses its signature, where an image carries two tables. The table in use is
//!    not touched; from here on the disk has one table.
//! 2. The backup table, already the new one, at the end of the disk. Nobody looks there while the primary is sound.
//! 3. The new entries, in the one of two places that the primary header does not name. Nothing points there yet.
//! 4. The primary header: one sector, which names the new entries. A disk writes a sector whole or not at all; should
//!    one tear it nevertheless, its checksum is wrong and firmware takes the backup of step 2, which is the new table.
//! 5. Both old backup headers are cleared, which lie inside of the grown partition and mean nothing any more.
//!
//! So the disk shows the old table until step 4 and the new one from then on. Only tables that `write` laid out with
//! [`super::Sectors::S512And4096`] are grown, because only they leave room for two arrays of entries.

use std::io;

use super::Guid;
use super::header::{ARRAY_BYTES, ENTRY_BYTES, HEADER_BYTES};

/// Partitions end at multiples of this many bytes, as they start.
const ALIGNMENT: u64 = 1 << 20;
/// The second place for entries, a whole sector of both sizes; the first is directly behind the header.
const SECOND_PLACE: u64 = 24576;
/// Where first usable byte of such tables is, behind both places.
const HEAD_BYTES: u64 = SECOND_PLACE + ARRAY_BYTES;

/// Bytes to write at an offset, whole sectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// First byte.
    pub offset: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What growing a partition takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growth {
    /// Number of the partition, from 1.
    pub number: u32,
    /// First byte of the partition.
    pub offset: u64,
    /// Its length in bytes as it is.
    pub old_len: u64,
    /// Its length in bytes afterwards.
    pub len: u64,
    /// Groups of writes, in order, each to be flushed before the next.
    pub groups: Vec<Vec<Write>>,
}

/// Why a table is left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrowError {
    /// The disk cannot be read.
    #[error("cannot read the partition table")]
    Read(#[from] io::Error),
    /// The primary table is damaged.
    #[error("the primary partition table is damaged")]
    Damaged,
    /// Another program laid the table out.
    #[error("the partition table is not laid out as this system does it")]
    Foreign,
    /// The partition does not exist, or others lie behind it.
    #[error("no partition {0:?} is the last one of the disk")]
    NotLast(String),
}

/// Reads `len` bytes at an offset.
pub type ReadAt<'a> = &'a dyn Fn(u64, usize) -> io::Result<Vec<u8>>;

/// What it takes to grow the last partition, called `name`, to the end of a disk of `len` bytes with sectors of
/// `sector` bytes; `None` when it fills the disk but for less than 1 MiB.
pub fn plan(read: ReadAt<'_>, sector: u64, len: u64, name: &str) -> Result<Option<Growth>, GrowError> {
    let table = Table::read(read, sector)?;
    let old_end = (table.wide(32).saturating_add(1)).saturating_mul(sector);
    let (index, first, last) = table.last_partition(name)?;
    let array = ARRAY_BYTES / sector;
    let last_lba = (len / sector).checked_sub(1).ok_or(GrowError::Foreign)?;
    let backup_entries = last_lba.checked_sub(array).ok_or(GrowError::Foreign)?;
    let end = backup_entries * sector / ALIGNMENT * ALIGNMENT;
    let (offset, part_end) = (first * sector, (last + 1) * sector);
    // The new tables must not touch the old ones, which count until the fourth step.
    if len < old_end + ALIGNMENT || end <= part_end {
        return Ok(None);
    }

    let mut entries = table.entries.clone();
    entries[index * ENTRY_BYTES + 40..][..8].copy_from_slice(&(end / sector - 1).to_le_bytes());
    let place = if table.wide(72) * sector == SECOND_PLACE { 2 * sector } else { SECOND_PLACE };
    let whole_sector = index_of(sector)?;
    let header = |own: u64, other: u64, entries_lba: u64| {
        let mut bytes = table.header.clone();
        let fields = [(24, own), (32, other), (48, backup_entries - 1), (72, entries_lba)];
        for (at, value) in fields {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
        seal(&mut bytes);
        let mut whole = vec![0; whole_sector];
        whole[..HEADER_BYTES].copy_from_slice(&bytes);
        whole
    };
    let mut groups = Vec::new();
    groups.extend(other_signature(read, sector)?.map(|write| vec![write]));
    groups.push(vec![
        Write { offset: backup_entries * sector, bytes: entries.clone() },
        Write { offset: last_lba * sector, bytes: header(last_lba, 1, backup_entries) },
    ]);
    groups.push(vec![Write { offset: place, bytes: entries.clone() }]);
    groups.push(vec![Write { offset: sector, bytes: header(1, last_lba, place / sector) }]);
    // The last 4096 bytes of the image hold the backup headers of both sizes.
    if old_end.is_multiple_of(4096) && old_end - 4096 >= part_end {
        groups.push(vec![Write { offset: old_end - 4096, bytes: vec![0; 4096] }]);
    }
    let number = u32::try_from(index + 1).map_err(io::Error::other)?;
    Ok(Some(Growth { number, offset, old_len: part_end - offset, len: end - offset, groups }))
}

/// A sound primary table.
struct Table {
    header: Vec<u8>,
    entries: Vec<u8>,
}

impl Table {
    fn read(read: ReadAt<'_>, sector: u64) -> Result<Self, GrowError> {
        let header = read(sector, HEADER_BYTES)?;
        let table = Self { header, entries: Vec::new() };
        let mut cleared = table.header.clone();
        cleared[16..20].fill(0);
        let is_header = table.header.starts_with(b"EFI PART") && table.long(12) == 92 && table.wide(24) == 1;
        if !is_header || crc32fast::hash(&cleared) != table.long(16) {
            return Err(GrowError::Damaged);
        }
        let place = table.wide(72).saturating_mul(sector);
        let ours = table.long(80) == 128
            && table.long(84) == 128
            && table.wide(40).saturating_mul(sector) >= HEAD_BYTES
            && (place == 2 * sector || place == SECOND_PLACE);
        if !ours {
            return Err(GrowError::Foreign);
        }
        let entries = read(place, index_of(ARRAY_BYTES)?)?;
        if crc32fast::hash(&entries) != table.long(88) {
            return Err(GrowError::Damaged);
        }
        Ok(Self { entries, ..table })
    }

    fn long(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.header[at..at + 4].try_into().expect("four bytes"))
    }

    fn wide(&self, at: usize) -> u64 {
        wide(&self.header, at)
    }

    /// Index, first and last LBA of the partition, which no other may follow.
    fn last_partition(&self, name: &str) -> Result<(usize, u64, u64), GrowError> {
        let unused = Guid(0).to_disk();
        let used =
            self.entries.chunks_exact(ENTRY_BYTES).enumerate().filter(|(_, entry)| entry[..16] != unused);
        let last = used.max_by_key(|(_, entry)| wide(entry, 32));
        let found = last.filter(|(_, entry)| name_of(entry) == name);
        let (index, entry) = found.ok_or_else(|| GrowError::NotLast(name.to_owned()))?;
        let (first, last) = (wide(entry, 32), wide(entry, 40));
        if first > last || last >= 1 << 51 { Err(GrowError::Damaged) } else { Ok((index, first, last)) }
    }
}

/// Removes the signature of the header that a disk with sectors of the other size would read.
fn other_signature(read: ReadAt<'_>, sector: u64) -> io::Result<Option<Write>> {
    let at = if sector == 512 { 4096 } else { 512 };
    if read(at, 8)? != b"EFI PART" {
        return Ok(None);
    }
    let offset = at / sector * sector;
    let mut bytes = read(offset, index_of(sector)?)?;
    let from = index_of(at - offset)?;
    bytes[from..from + HEADER_BYTES].fill(0);
    Ok(Some(Write { offset, bytes }))
}

fn index_of(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(io::Error::other)
}

/// Puts the checksum into a header.
fn seal(header: &mut [u8]) {
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header[..HEADER_BYTES]);
    header[16..20].copy_from_slice(&crc.to_le_bytes());
}

fn name_of(entry: &[u8]) -> String {
    let units = entry[56..].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    String::from_utf16_lossy(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>())
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
