//! Growth on a disk in memory that loses power after every write, and in the middle of every group of writes.
#![expect(clippy::cast_possible_truncation, reason = "a disk in memory has offsets of its size")]

use std::collections::BTreeMap;

use super::*;
use crate::disk::{DiskSpec, STATE_NAME, raw};
use crate::seed::Seed;
use crate::sparse::Sparse;

const MIB: u64 = 1 << 20;

/// A disk that keeps what was written, by sector, over an image.
#[derive(Clone)]
struct Disk<'a> {
    image: &'a Sparse,
    sector: u64,
    len: u64,
    written: BTreeMap<u64, Vec<u8>>,
}

impl Disk<'_> {
    fn read(&self, offset: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.image.read_at(&mut bytes, offset)?;
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = offset + index as u64;
            if let Some(sector) = self.written.get(&(at / self.sector)) {
                *byte = sector[(at % self.sector) as usize];
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, sector: &(u64, Vec<u8>)) {
        assert!((sector.0 + 1) * self.sector <= self.len, "written past the end");
        self.written.insert(sector.0, sector.1.clone());
    }

    fn plan(&self) -> Result<Option<Growth>, GrowError> {
        plan(&|offset, len| self.read(offset, len), self.sector, self.len, STATE_NAME)
    }

    /// First and last byte of the partitions that this disk shows: of the primary table when it is sound, else of
    /// the backup at its end, as firmware does it.
    fn partitions(&self) -> Option<Vec<(u64, u64)>> {
        let last = self.len / self.sector - 1;
        [1, last].into_iter().find_map(|lba| self.table_at(lba))
    }

    fn table_at(&self, lba: u64) -> Option<Vec<(u64, u64)>> {
        let header = self.read(lba * self.sector, HEADER_BYTES).unwrap();
        let mut cleared = header.clone();
        cleared[16..20].fill(0);
        let stored = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let sound = header.starts_with(b"EFI PART")
            && wide(&header, 24) == lba
            && crc32fast::hash(&cleared) == stored(16);
        if !sound {
            return None;
        }
        let entries = self.read(wide(&header, 72) * self.sector, ARRAY_BYTES as usize).unwrap();
        if crc32fast::hash(&entries) != stored(88) {
            return None;
        }
        let used = entries.chunks_exact(ENTRY_BYTES).filter(|entry| entry[..16] != [0; 16]);
        Some(used.map(|entry| (wide(entry, 32) * self.sector, (wide(entry, 40) + 1) * self.sector)).collect())
    }
}

fn image() -> Sparse {
    let seed = Seed::new([9; 32]);
    raw(&DiskSpec { seed: &seed, modified: 0, esp: &BTreeMap::new(), state: &Sparse::new(64 * MIB) }).unwrap()
}

fn disk(image: &Sparse, sector: u64, len: u64) -> Disk<'_> {
    Disk { image, sector, len, written: BTreeMap::new() }
}

fn sectors(group: &[Write], sector: u64) -> Vec<(u64, Vec<u8>)> {
    let split = |write: &Write| {
        assert!(write.offset.is_multiple_of(sector), "whole sectors");
        assert!(write.bytes.len().is_multiple_of(sector as usize), "whole sectors");
        let first = write.offset / sector;
        let pieces = write.bytes.chunks(sector as usize).enumerate();
        pieces.map(|(index, bytes)| (first + index as u64, bytes.to_vec())).collect::<Vec<_>>()
    };
    group.iter().flat_map(split).collect()
}

/// Bits that are the same in every run (xorshift).
struct Bits(u64);

impl Bits {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[test]
fn a_power_cut_at_any_moment_leaves_the_old_or_the_new_table() {
    let image = image();
    let mut cuts = 0;
    for sector in [512, 4096] {
        for len in [image.len() + 40 * MIB, image.len() + MIB, 3 << 40, image.len() + 77 * MIB + 3 * 4096] {
            let mut disk = disk(&image, sector, len);
            let old = disk.partitions().unwrap();
            let growth = disk.plan().unwrap().unwrap();
            let new = vec![old[0], (growth.offset, growth.offset + growth.len)];
            assert_eq!(old[1], (growth.offset, growth.offset + growth.old_len));
            let mut bits = Bits(len + sector);
            for (index, group) in growth.groups.iter().enumerate() {
                let parts = sectors(group, sector);
                // None, each alone, all but each, and many at random: the order within a group is the disk's.
                let single = (0..parts.len()).flat_map(|one| [1 << one, !(1 << one)]);
                let random = (0..200).map(|_| u128::from(bits.next()) << 64 | u128::from(bits.next()));
                for mask in single.chain(random.map(|mask| mask as u64)).chain([0]) {
                    let mut cut = disk.clone();
                    parts
                        .iter()
                        .enumerate()
                        .filter(|(at, _)| mask >> (at % 64) & 1 == 1)
                        .for_each(|(_, part)| cut.write(part));
                    let shown = cut.partitions();
                    assert!(
                        shown.as_ref() == Some(&old) || shown.as_ref() == Some(&new),
                        "group {index}: {shown:?}"
                    );
                    resumes(cut, &new);
                    cuts += 1;
                }
                parts.iter().for_each(|part| disk.write(part));
            }
            assert_eq!(disk.partitions(), Some(new.clone()));
            assert_eq!(disk.table_at(len / sector - 1), Some(new.clone()), "the backup is the same");
            assert_eq!(disk.plan().unwrap(), None, "nothing is left to do");
            let other = if sector == 512 { 4096 } else { 512 };
            assert_ne!(disk.read(other, 8).unwrap(), b"EFI PART", "only one table is left");
        }
    }
    assert!(cuts > 5_000, "{cuts} cuts");
}

/// The next boot ends with the new table, whatever the last one left.
fn resumes(mut cut: Disk<'_>, new: &[(u64, u64)]) {
    if let Some(growth) = cut.plan().unwrap() {
        for group in &growth.groups {
            sectors(group, cut.sector).iter().for_each(|part| cut.write(part));
        }
    }
    assert_eq!(cut.partitions().as_deref(), Some(new));
}

#[test]
fn a_torn_header_is_no_loss() {
    let image = image();
    let mut disk = disk(&image, 4096, image.len() + 64 * MIB);
    let growth = disk.plan().unwrap().unwrap();
    for group in &growth.groups[..3] {
        sectors(group, 4096).iter().for_each(|part| disk.write(part));
    }
    let (lba, bytes) = sectors(&growth.groups[3], 4096).remove(0);
    for cut in (0..HEADER_BYTES).step_by(7) {
        let mut torn = disk.clone();
        let mut mixed = torn.read(lba * 4096, 4096).unwrap();
        mixed[..cut].copy_from_slice(&bytes[..cut]);
        torn.write(&(lba, mixed));
        let end = torn.partitions().unwrap()[1].1;
        assert!([growth.old_len, growth.len].contains(&(end - growth.offset)), "cut at {cut}");
    }
}

#[test]
fn a_disk_grows_again_and_again() {
    let image = image();
    for sector in [512, 4096] {
        let mut disk = disk(&image, sector, image.len());
        assert_eq!(disk.plan().unwrap(), None, "an image on a disk of its own size stays as it is");
        for step in 1..5 {
            disk.len = image.len() + step * 100 * MIB;
            let growth = disk.plan().unwrap().unwrap();
            for group in &growth.groups {
                sectors(group, sector).iter().for_each(|part| disk.write(part));
            }
            // What is left is the backup table, less than a MiB.
            let end = disk.partitions().unwrap()[1].1;
            assert!(disk.len - end <= MIB && end.is_multiple_of(MIB), "{end} of {}", disk.len);
        }
        disk.len += MIB / 2;
        assert_eq!(disk.plan().unwrap(), None, "half a MiB is not worth it");
    }
}

#[test]
fn other_tables_are_left_alone() {
    let image = image();
    let disk = disk(&image, 512, image.len() + 64 * MIB);
    let of = |name: &str, edit: &dyn Fn(u64, &mut Vec<u8>)| {
        let read = |offset: u64, len: usize| {
            let mut bytes = disk.read(offset, len)?;
            edit(offset, &mut bytes);
            Ok(bytes)
        };
        plan(&read, 512, disk.len, name).unwrap_err()
    };
    assert!(matches!(of("ESP", &|_, _| {}), GrowError::NotLast(_)), "another one follows");
    assert!(matches!(
        of(STATE_NAME, &|at, bytes| if at == 512 {
            bytes[60] ^= 1
        }),
        GrowError::Damaged
    ));
    assert!(matches!(
        of(STATE_NAME, &|at, bytes| if at == 24576 {
            bytes[9000] ^= 1
        }),
        GrowError::Damaged
    ));
    let standard = |at: u64, bytes: &mut Vec<u8>| {
        if at == 512 {
            bytes[40..48].copy_from_slice(&34_u64.to_le_bytes());
            seal(bytes);
        }
    };
    assert!(matches!(of(STATE_NAME, &standard), GrowError::Foreign));
}
