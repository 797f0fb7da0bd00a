//! GUID partition tables for one image that is valid with 512-byte and with 4096-byte logical sectors.
//!
//! UEFI specification 2.10, chapter 5. A disk has one sector size, but an image is copied to disks of
//! either: it carries a table for each, and a reader sees only the one that lies at its own LBA 1. Both
//! name the same partitions. Bytes from the start (`s`) or the end (`e`) of the image:
//!
//! | bytes | `Sectors::S512` | `Sectors::S512And4096` |
//! |---|---|---|
//! | s+0 | protective MBR | protective MBR |
//! | s+512 | header, LBA 1 | header of the 512 table, LBA 1 |
//! | s+1024 | entries, LBA 2 to 33 | zero |
//! | s+4096 | | header of the 4096 table, LBA 1 |
//! | s+8192 | | entries of the 4096 table, LBA 2 to 5 |
//! | s+24576 | | entries of the 512 table, LBA 48 to 79 |
//! | first usable | s+17408, LBA 34 | s+40960, LBA 80 and 10 |
//! | after last usable | e-16896 | e-36864 |
//! | e-36864 | | backup entries of the 512 table |
//! | e-20480 | | backup entries of the 4096 table, just before its header |
//! | e-16896 | backup entries | |
//! | e-4096 | | backup header of the 4096 table, 92 bytes of the last block |
//! | e-512 | backup header, last LBA | backup header of the 512 table, in that block's last 512 bytes |
//!
//! Headers of two tables share a block at the end, and the first 4096 bytes: each covers its own 92
//! bytes with its CRC and no more. The 4096 table has its entries where every writer puts them. Those of
//! the 512 table leave gaps to its headers, which the specification allows and `sgdisk -v` remarks on.
//! A program that guesses the sector size of an image file finds both tables and may refuse to choose; a
//! disk never raises the question. This must not choose where partitions lie.

mod dump;
pub mod grow;
mod guid;
mod header;
#[cfg(test)]
mod tests;

use thiserror::Error;

pub use dump::dump;
pub use guid::Guid;

use crate::content::Content;
use crate::sparse::Sparse;
use header::{ENTRY_BYTES, Header, Table};

/// Most partitions: the count for which the UEFI specification reserves room.
pub const MAX_PARTITIONS: usize = 128;

/// Which sector sizes of a disk an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sectors {
    /// 512 bytes: optical images that are also copied to USB sticks.
    S512,
    /// 512 bytes and 4096 bytes: disk images.
    S512And4096,
}

/// Who writes the first 512 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mbr {
    /// A protective MBR (UEFI specification 5.2.3) is written.
    Protective,
    /// They are left to the caller, who has boot code for them.
    Caller,
}

/// A partition table.
#[derive(Clone, Copy, Debug)]
pub struct GptSpec<'a> {
    /// Sector sizes that must see it.
    pub sectors: Sectors,
    /// The first 512 bytes.
    pub mbr: Mbr,
    /// Identifies the disk.
    pub disk: Guid,
    /// In the order of their numbers, from 1.
    pub partitions: &'a [Partition],
}

/// One partition; where it lies is in bytes, because the sector size is the reader's.
#[derive(Clone, Debug)]
pub struct Partition {
    /// What it is for.
    pub kind: Guid,
    /// Identifies it.
    pub id: Guid,
    /// Up to 36 UTF-16 units.
    pub name: String,
    /// Bits 0 to 2 are defined by the UEFI specification, 48 to 63 by `kind`.
    pub attributes: u64,
    /// First byte, a multiple of the largest sector size.
    pub offset: u64,
    /// Length in bytes, a multiple of the largest sector size, not zero.
    pub len: u64,
}

/// Why a table cannot be written.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum GptError {
    /// Image that is no whole number of sectors, or has no room for the tables.
    #[error("image of {0} bytes: not a whole number of sectors, or no room for partition tables")]
    ImageSize(u64),
    /// More than 128 partitions.
    #[error("{0} partitions: a table holds 128")]
    TooMany(usize),
    /// More than 36 UTF-16 units.
    #[error("partition name {0:?}: more than 36 UTF-16 units")]
    NameTooLong(String),
    /// Empty, off the sectors, or on the bytes of a table.
    #[error(
        "partition {name:?} at {offset}+{len}: empty, not on whole sectors, or outside of {first} to {end}"
    )]
    Placement {
        /// Its name.
        name: String,
        /// Its first byte.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// First usable byte.
        first: u64,
        /// Byte after the last usable one.
        end: u64,
    },
    /// Two partitions share bytes.
    #[error("partitions {0:?} and {1:?} overlap")]
    Overlap(String, String),
    /// Two partitions share an identity.
    #[error("partitions {0:?} and {1:?} have the same GUID")]
    SameId(String, String),
}

impl Sectors {
    /// Bytes before the first usable one, of an image of any size.
    pub fn head_bytes(self) -> u64 {
        self.tables().iter().map(Table::head_end).max().expect("there is a table")
    }

    /// Bytes after the last usable one, of an image of any size.
    pub fn tail_bytes(self) -> u64 {
        self.tables().iter().map(|table| table.tail_entries).max().expect("there is a table")
    }

    /// Bytes to which partitions and the image itself must be aligned.
    pub fn largest(self) -> u64 {
        self.tables().iter().map(|table| table.sector).max().expect("there is a table")
    }

    fn tables(self) -> &'static [Table] {
        match self {
            Self::S512 => &[Table { sector: 512, head_entries: 1024, tail_entries: 16896 }],
            // The smallest places that keep 16384 bytes of entries apart from each other and from the headers.
            Self::S512And4096 => &[
                Table { sector: 512, head_entries: 24576, tail_entries: 36864 },
                Table { sector: 4096, head_entries: 8192, tail_entries: 20480 },
            ],
        }
    }
}

/// Puts a partition table into `image`, where the bytes of the module's table must still be holes.
pub fn write(image: &mut Sparse, spec: &GptSpec<'_>) -> Result<(), GptError> {
    check(image.len(), spec)?;
    if spec.mbr == Mbr::Protective {
        image.put(0, header::protective_mbr(image.len(), spec.sectors));
    }
    for table in spec.sectors.tables() {
        let entries = header::entries(spec.partitions, table.sector);
        let header = Header::new(spec, table, image.len(), &entries);
        // Unused entries are zero, as holes are.
        let entries = Content::from(&entries[..spec.partitions.len() * ENTRY_BYTES]);
        image.put(table.head_entries, entries.clone());
        image.put(image.len() - table.tail_entries, entries);
        image.put(table.sector, header.primary());
        image.put(image.len() - table.sector, header.backup());
    }
    Ok(())
}

fn check(len: u64, spec: &GptSpec<'_>) -> Result<(), GptError> {
    let sectors = spec.sectors;
    let first = sectors.head_bytes();
    let end = len
        .checked_sub(sectors.tail_bytes())
        .filter(|end| *end > first && len.is_multiple_of(sectors.largest()));
    let end = end.ok_or(GptError::ImageSize(len))?;
    if spec.partitions.len() > MAX_PARTITIONS {
        return Err(GptError::TooMany(spec.partitions.len()));
    }
    for (index, one) in spec.partitions.iter().enumerate() {
        if one.name.encode_utf16().count() > header::NAME_UNITS {
            return Err(GptError::NameTooLong(one.name.clone()));
        }
        let aligned = [one.offset, one.len].iter().all(|value| value.is_multiple_of(sectors.largest()));
        let inside = one.offset >= first && one.offset.checked_add(one.len).is_some_and(|after| after <= end);
        if one.len == 0 || !aligned || !inside {
            let Partition { name, offset, len, .. } = one.clone();
            return Err(GptError::Placement { name, offset, len, first, end });
        }
        for other in &spec.partitions[..index] {
            if one.offset < other.offset + other.len && other.offset < one.offset + one.len {
                return Err(GptError::Overlap(other.name.clone(), one.name.clone()));
            }
            if one.id == other.id {
                return Err(GptError::SameId(other.name.clone(), one.name.clone()));
            }
        }
    }
    Ok(())
}
