//! The entries of a GUID partition table (UEFI specification, section 5.3), and which disk holds a given partition.
//!
//! The kernel has checked the table already: checksums are not looked at. This must not write.

use std::io::{self, Read, Seek, SeekFrom};

/// A table larger than this is not read (128 entries of 128 bytes are usual).
const MAX_TABLE: u64 = 1 << 20;

/// A partition's unique identifier in the byte order of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionId([u8; 16]);

impl PartitionId {
    /// Reads the usual text form; letter case does not matter.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.split('-').collect();
        if digits.len() != 32 || !digits.is_ascii() {
            return None;
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
        }
        // The first three fields are little-endian in the table and big-endian in text.
        bytes[..4].reverse();
        bytes[4..6].reverse();
        bytes[6..8].reverse();
        Some(Self(bytes))
    }

    /// An identifier as it stands in a table.
    pub fn from_disk(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes as they stand in a table.
    pub fn to_disk(self) -> [u8; 16] {
        self.0
    }
}

/// Type of an EFI system partition, as it stands in a table.
const EFI_SYSTEM: [u8; 16] =
    [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];

/// What a host wants to know of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its unique identifier.
    pub id: PartitionId,
    /// Whether it is an EFI system partition.
    pub is_esp: bool,
    /// Its first block, counted in logical sectors of the disk.
    pub first: u64,
    /// How many blocks it has.
    pub blocks: u64,
}

/// Whether the primary table of `disk`, whose logical sectors have `sector` bytes, lists the partition.
pub fn holds(disk: &mut (impl Read + Seek), sector: u64, id: PartitionId) -> io::Result<bool> {
    Ok(entries(disk, sector)?.iter().any(|entry| entry.id == id))
}

/// All entries of the primary table, unused ones included, so that partition N is at N - 1; none without a table.
pub fn entries(disk: &mut (impl Read + Seek), sector: u64) -> io::Result<Vec<Entry>> {
    // The header is in sector 1; the fields below lie in its first 92 bytes.
    let mut header = [0; 92];
    disk.seek(SeekFrom::Start(sector))?;
    disk.read_exact(&mut header)?;
    if !header.starts_with(b"EFI PART") {
        return Ok(Vec::new());
    }
    let first = u64::from_le_bytes(header[72..80].try_into().expect("eight bytes"));
    let count = u32::from_le_bytes(header[80..84].try_into().expect("four bytes"));
    let size = u32::from_le_bytes(header[84..88].try_into().expect("four bytes"));
    let length = u64::from(count) * u64::from(size);
    let start = first.checked_mul(sector);
    let (Some(start), Ok(size), true) = (start, usize::try_from(size), length <= MAX_TABLE && size >= 128)
    else {
        return Ok(Vec::new());
    };
    let mut table = Vec::new();
    disk.seek(SeekFrom::Start(start))?;
    disk.take(length).read_to_end(&mut table)?;
    // An entry: type 0..16, unique identifier 16..32, first block 32..40, last block 40..48.
    let entry = |bytes: &[u8]| {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        Entry {
            id: PartitionId(bytes[16..32].try_into().expect("sixteen bytes")),
            is_esp: bytes[..16] == EFI_SYSTEM,
            first: number(32),
            blocks: number(40).wrapping_sub(number(32)).wrapping_add(1),
        }
    };
    Ok(table.chunks_exact(size).map(entry).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    const ID: &str = "C12A7328-f81f-11d2-ba4b-00a0c93ec93b";

    fn disk(sector: usize, count: u32, size: u32) -> Cursor<Vec<u8>> {
        let mut bytes = vec![0; 16 * sector];
        bytes[sector..sector + 8].copy_from_slice(b"EFI PART");
        bytes[sector + 72..sector + 80].copy_from_slice(&2_u64.to_le_bytes());
        bytes[sector + 80..sector + 84].copy_from_slice(&count.to_le_bytes());
        bytes[sector + 84..sector + 88].copy_from_slice(&size.to_le_bytes());
        let third = 2 * sector + 2 * 128 + 16;
        bytes[third..third + 16].copy_from_slice(&PartitionId::parse(ID).unwrap().0);
        Cursor::new(bytes)
    }

    #[test]
    fn text_form_is_mixed_endian() {
        let bytes = PartitionId::parse(ID).unwrap().0;
        assert_eq!(bytes[..8], [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]);
        assert_eq!(bytes[8..], [0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b]);
        for bad in ["", "c12a7328", &"g".repeat(32), &"é".repeat(16)] {
            assert_eq!(PartitionId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn finds_an_entry_with_both_sector_sizes() {
        let id = PartitionId::parse(ID).unwrap();
        for sector in [512, 4096] {
            assert!(holds(&mut disk(sector, 128, 128), sector as u64, id).unwrap());
            assert!(!holds(&mut disk(sector, 2, 128), sector as u64, id).unwrap(), "entry 3 of 2");
        }
    }

    #[test]
    fn the_type_of_an_entry() {
        let mut disk = disk(512, 16, 128);
        disk.get_mut()[1024..1040].copy_from_slice(&EFI_SYSTEM);
        disk.get_mut()[1056..1064].copy_from_slice(&2048_u64.to_le_bytes());
        disk.get_mut()[1064..1072].copy_from_slice(&4095_u64.to_le_bytes());
        let entries = entries(&mut disk, 512).unwrap();
        assert_eq!((entries[0].first, entries[0].blocks), (2048, 2048));
        assert_eq!((entries.len(), entries[0].is_esp, entries[2].is_esp), (16, true, false));
        assert_eq!(entries[2].id, PartitionId::parse(ID).unwrap());
    }

    #[test]
    fn odd_tables_hold_nothing() {
        let id = PartitionId::parse(ID).unwrap();
        assert!(!holds(&mut disk(512, u32::MAX, 128), 512, id).unwrap(), "too large");
        assert!(!holds(&mut disk(512, 128, 0), 512, id).unwrap(), "entries of no size");
        assert!(!holds(&mut Cursor::new(vec![0; 8192]), 512, id).unwrap(), "no table");
        assert!(holds(&mut Cursor::new(vec![0; 100]), 512, id).is_err(), "no sector 1");
    }
}
