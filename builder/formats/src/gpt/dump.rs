//! A partition table as text, for golden tests and for people.
//!
//! It checks what it reads, and trusts no field: damaged tables are what people dump.

use std::fmt::Write as _;
use std::io;

use super::Guid;
use super::header::{ENTRY_BYTES, HEADER_BYTES};
use crate::sparse::Sparse;

/// Both headers and all partitions that a disk with sectors of `sector` bytes shows.
pub fn dump(image: &Sparse, sector: u64) -> io::Result<String> {
    let mut out = String::new();
    let mut mbr = [0; 512];
    image.read_at(&mut mbr, 0)?;
    line(
        &mut out,
        &format!("mbr: type {:#04x}, {} sectors from {}", mbr[450], long(&mbr, 458), long(&mbr, 454)),
    );
    let primary = header(&mut out, image, sector, "primary", sector)?;
    header(&mut out, image, sector, "backup", image.len().saturating_sub(sector))?;
    for (index, entry) in primary.chunks_exact(ENTRY_BYTES).enumerate() {
        if entry[..16].iter().any(|byte| *byte != 0) {
            line(&mut out, &partition(index + 1, entry, sector));
        }
    }
    Ok(out)
}

/// Describes the header at byte `at` and returns its array of entries.
fn header(out: &mut String, image: &Sparse, sector: u64, name: &str, at: u64) -> io::Result<Vec<u8>> {
    let mut bytes = [0; HEADER_BYTES];
    image.read_at(&mut bytes, at)?;
    if !bytes.starts_with(b"EFI PART") {
        line(out, &format!("{name}: none"));
        return Ok(Vec::new());
    }
    let stored = long(&bytes, 16);
    let mut cleared = bytes;
    cleared[16..20].fill(0);
    // The array has a known length; a header that says otherwise has a wrong CRC below.
    let mut entries = vec![0; 128 * ENTRY_BYTES];
    image.read_at(&mut entries, wide(&bytes, 72).saturating_mul(sector).min(image.len()))?;
    let verdict = |good: bool| if good { "good" } else { "BAD" };
    let header_crc = verdict(crc32fast::hash(&cleared) == stored);
    let entries_crc = verdict(crc32fast::hash(&entries) == long(&bytes, 88));
    line(out, &format!("{name}: lba {}, other {}, crc {header_crc}", wide(&bytes, 24), wide(&bytes, 32)));
    line(out, &format!("  usable: {} to {}", wide(&bytes, 40), wide(&bytes, 48)));
    let (count, size) = (long(&bytes, 80), long(&bytes, 84));
    line(out, &format!("  entries: lba {}, {count} of {size} bytes, crc {entries_crc}", wide(&bytes, 72)));
    line(out, &format!("  disk: {}", guid(&bytes, 56)));
    Ok(entries)
}

fn partition(number: usize, entry: &[u8], sector: u64) -> String {
    let (first, last) = (wide(entry, 32), wide(entry, 40));
    let units = entry[56..].chunks_exact(2).map(|unit| u16::from_le_bytes([unit[0], unit[1]]));
    let name: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
    let bytes = last.wrapping_sub(first).wrapping_add(1).wrapping_mul(sector);
    format!(
        "{number}: {first} to {last}, {bytes} bytes, {:?}\n  type: {}\n  id: {}\n  attributes: {:#x}",
        String::from_utf16_lossy(&name),
        guid(entry, 0),
        guid(entry, 16),
        wide(entry, 48),
    )
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("a string takes all text");
}

fn long(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn wide(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn guid(bytes: &[u8], at: usize) -> Guid {
    Guid::from_disk(bytes[at..at + 16].try_into().expect("sixteen bytes"))
}
