//! The boot sector with its parameter block, FSInfo, and a text form of both for golden tests.
//!
//! FAT spec, "Boot Sector and BPB". This must not decide sizes: `geometry` does.

use std::fmt::Write as _;
use std::io;

use super::FatKind;
use super::geometry::{FATS, Geometry};
use super::name::ShortName;
use super::table::{FIRST_CLUSTER, MEDIA};
use crate::sparse::Sparse;

/// Sector of FSInfo on FAT32.
pub(super) const FS_INFO_SECTOR: u32 = 1;

/// Sector of the copy of the boot sector on FAT32: no other value is recommended.
pub(super) const BACKUP_SECTOR: u32 = 6;

/// Bytes of the structures in the boot sector and FSInfo, whatever the sector size is.
const BYTES: usize = 512;

/// `int 0x18` gives the boot back to a BIOS; should it return, halt for ever.
const NOT_BOOTABLE: [u8; 5] = [0xcd, 0x18, 0xf4, 0xeb, 0xfd];

/// The first 512 bytes of a volume; the rest of the sector is zero.
pub(super) fn boot_sector(geometry: &Geometry, serial: u32, label: ShortName) -> Vec<u8> {
    let mut sector = vec![0; BYTES];
    let mut set = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    // The name that the FAT spec recommends, because some implementations look at it.
    set(3, b"MSWIN4.1");
    set(11, &narrow(geometry.bytes_per_sector).to_le_bytes());
    set(13, &[u8::try_from(geometry.sectors_per_cluster).expect("at most 128")]);
    set(14, &narrow(geometry.reserved_sectors).to_le_bytes());
    set(16, &[u8::try_from(FATS).expect("two")]);
    set(17, &narrow(geometry.root_entries).to_le_bytes());
    match u16::try_from(geometry.total_sectors) {
        Ok(total) if geometry.kind != FatKind::Fat32 => set(19, &total.to_le_bytes()),
        _ => set(32, &geometry.total_sectors.to_le_bytes()),
    }
    set(21, &[MEDIA]);
    // The geometry that BIOSes make up for large disks; hidden sectors stay zero, as they depend on the disk's sectors.
    set(24, &63_u16.to_le_bytes());
    set(26, &255_u16.to_le_bytes());
    // The extended part lies behind the FAT32 fields or in their place.
    let (extended, kind): (usize, &[u8; 8]) = match geometry.kind {
        FatKind::Fat12 => (36, b"FAT12   "),
        FatKind::Fat16 => (36, b"FAT16   "),
        FatKind::Fat32 => (64, b"FAT32   "),
    };
    if geometry.kind == FatKind::Fat32 {
        set(36, &geometry.fat_sectors.to_le_bytes());
        set(44, &FIRST_CLUSTER.to_le_bytes());
        set(48, &narrow(FS_INFO_SECTOR).to_le_bytes());
        set(50, &narrow(BACKUP_SECTOR).to_le_bytes());
    } else {
        set(22, &narrow(geometry.fat_sectors).to_le_bytes());
    }
    // Drive 0x80, and 0x29 says that the next three fields are there.
    set(extended, &[0x80, 0, 0x29]);
    set(extended + 3, &serial.to_le_bytes());
    set(extended + 7, &label);
    set(extended + 18, kind);
    let code = extended + 26;
    set(0, &[0xeb, u8::try_from(code - 2).expect("at most 88"), 0x90]);
    set(code, &NOT_BOOTABLE);
    set(510, &[0x55, 0xaa]);
    sector
}

/// The FSInfo structure of FAT32: `used` of `clusters` are taken, from the first one on.
pub(super) fn fs_info(clusters: u32, used: u32) -> Vec<u8> {
    let mut sector = vec![0; BYTES];
    let mut set = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"RRaA");
    set(484, b"rrAa");
    set(488, &(clusters - used).to_le_bytes());
    set(492, &(FIRST_CLUSTER + used).to_le_bytes());
    set(508, &[0, 0, 0x55, 0xaa]);
    sector
}

fn narrow(value: u32) -> u16 {
    u16::try_from(value).expect("checked with the sizes of the volume")
}

/// The parameter block of the volume at byte `offset` of `image` as text, one `name: value` per line.
pub fn dump(image: &Sparse, offset: u64) -> io::Result<String> {
    let mut sector = vec![0; BYTES];
    image.read_at(&mut sector, offset)?;
    let byte = |at: usize| u64::from(sector[at]);
    let word = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
    let long = |at: usize| word(at) | word(at + 2) << 16;
    let text = |at: usize, len: usize| String::from_utf8_lossy(&sector[at..at + len]).into_owned();
    // A field of 16 bits that is zero refers to one of 32 bits.
    let either = |small: u64, large: u64| if small == 0 { large } else { small };

    let fat32 = word(22) == 0;
    let extended = if fat32 { 64 } else { 36 };
    let fat_sectors = either(word(22), long(36));
    let total = either(word(19), long(32));
    let root_sectors = (word(17) * 32).div_ceil(word(11).max(1));
    let data = word(14) + byte(16) * fat_sectors + root_sectors;
    let mut out = String::new();
    let mut line =
        |name: &str, value: String| writeln!(out, "{name}: {value}").expect("a string takes all text");
    line("type", text(extended + 18, 8).trim_end().to_owned());
    line("label", text(extended + 7, 11).trim_end().to_owned());
    line("serial", format!("{:04x}-{:04x}", word(extended + 5), word(extended + 3)));
    line("bytes per sector", word(11).to_string());
    line("sectors per cluster", byte(13).to_string());
    line("reserved sectors", word(14).to_string());
    line("fats", format!("{} of {fat_sectors} sectors", byte(16)));
    line("root entries", word(17).to_string());
    line("total sectors", total.to_string());
    line("data sector", data.to_string());
    line("clusters", (total.saturating_sub(data) / byte(13).max(1)).to_string());
    if fat32 {
        let mut info = [0; BYTES];
        image.read_at(&mut info, offset + word(48) * word(11))?;
        let info = |at: usize| u32::from_le_bytes([info[at], info[at + 1], info[at + 2], info[at + 3]]);
        line("root cluster", long(44).to_string());
        line("free clusters", format!("{}, next {}", info(488), info(492)));
        line("backup boot sector", word(50).to_string());
    }
    Ok(out)
}
