//! The bytes of headers, entries and the protective MBR (UEFI specification 5.2.3, 5.3.2 and 5.3.3).
//!
//! This must not check anything: `write` has done so before.

use super::{GptSpec, Guid, MAX_PARTITIONS, Partition, Sectors};

/// Bytes of an entry.
pub(super) const ENTRY_BYTES: usize = 128;

/// UTF-16 units of a name.
pub(super) const NAME_UNITS: usize = 36;

/// Bytes of a header that mean something, and that its CRC covers.
pub(super) const HEADER_BYTES: usize = 92;

/// Bytes of an array of entries, used or not.
pub(super) const ARRAY_BYTES: u64 = (MAX_PARTITIONS * ENTRY_BYTES) as u64;

/// Where one table lies: headers are at LBA 1 and at the last LBA.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table {
    /// Bytes per sector.
    pub(super) sector: u64,
    /// Bytes from the start of the image to the entries.
    pub(super) head_entries: u64,
    /// Bytes from the backup entries to the end of the image.
    pub(super) tail_entries: u64,
}

impl Table {
    /// Byte after the primary entries.
    pub(super) fn head_end(&self) -> u64 {
        self.head_entries + ARRAY_BYTES
    }
}

/// What both headers of a table say.
#[derive(Debug)]
pub(super) struct Header {
    disk: Guid,
    last_lba: u64,
    first_usable: u64,
    last_usable: u64,
    head_entries: u64,
    tail_entries: u64,
    entries_crc: u32,
}

impl Header {
    /// For an image of `len` bytes; `entries` is the whole array.
    pub(super) fn new(spec: &GptSpec<'_>, table: &Table, len: u64, entries: &[u8]) -> Self {
        Self {
            disk: spec.disk,
            last_lba: len / table.sector - 1,
            first_usable: spec.sectors.head_bytes() / table.sector,
            last_usable: (len - spec.sectors.tail_bytes()) / table.sector - 1,
            head_entries: table.head_entries / table.sector,
            tail_entries: (len - table.tail_entries) / table.sector,
            entries_crc: crc32fast::hash(entries),
        }
    }

    pub(super) fn primary(&self) -> Vec<u8> {
        self.bytes(1, self.last_lba, self.head_entries)
    }

    pub(super) fn backup(&self) -> Vec<u8> {
        self.bytes(self.last_lba, 1, self.tail_entries)
    }

    fn bytes(&self, own_lba: u64, other_lba: u64, entries_lba: u64) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let mut set = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        set(0, b"EFI PART");
        // Revision 1.0 of the header, as in every revision of the specification so far.
        set(8, &0x0001_0000_u32.to_le_bytes());
        set(12, &92_u32.to_le_bytes());
        set(24, &own_lba.to_le_bytes());
        set(32, &other_lba.to_le_bytes());
        set(40, &self.first_usable.to_le_bytes());
        set(48, &self.last_usable.to_le_bytes());
        set(56, &self.disk.to_disk());
        set(72, &entries_lba.to_le_bytes());
        set(80, &128_u32.to_le_bytes());
        set(84, &128_u32.to_le_bytes());
        set(88, &self.entries_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes);
        bytes[16..20].copy_from_slice(&crc.to_le_bytes());
        bytes
    }
}

/// The whole array of entries, in LBAs of `sector` bytes.
pub(super) fn entries(partitions: &[Partition], sector: u64) -> Vec<u8> {
    let mut bytes = vec![0; MAX_PARTITIONS * ENTRY_BYTES];
    for (entry, partition) in bytes.chunks_exact_mut(ENTRY_BYTES).zip(partitions) {
        let last = (partition.offset + partition.len) / sector - 1;
        entry[0..16].copy_from_slice(&partition.kind.to_disk());
        entry[16..32].copy_from_slice(&partition.id.to_disk());
        entry[32..40].copy_from_slice(&(partition.offset / sector).to_le_bytes());
        entry[40..48].copy_from_slice(&last.to_le_bytes());
        entry[48..56].copy_from_slice(&partition.attributes.to_le_bytes());
        for (place, unit) in entry[56..].chunks_exact_mut(2).zip(partition.name.encode_utf16()) {
            place.copy_from_slice(&unit.to_le_bytes());
        }
    }
    bytes
}

/// The first 512 bytes of an image of `len` bytes: one partition of type 0xEE from LBA 1 to the end.
pub(super) fn protective_mbr(len: u64, sectors: Sectors) -> Vec<u8> {
    let blocks = match sectors {
        Sectors::S512 => u32::try_from(len / 512 - 1).unwrap_or(u32::MAX),
        // A count of sectors is right for one sector size only. All ones means "more than can be said",
        // which readers of either size accept.
        Sectors::S512And4096 => u32::MAX,
    };
    let mut mbr = vec![0; 512];
    let mut set = |at: usize, field: &[u8]| mbr[at..at + field.len()].copy_from_slice(field);
    // Not bootable; starts at cylinder 0, head 0, sector 2; ends where cylinders cannot say.
    set(446, &[0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]);
    set(454, &1_u32.to_le_bytes());
    set(458, &blocks.to_le_bytes());
    set(510, &[0x55, 0xaa]);
    mbr
}
