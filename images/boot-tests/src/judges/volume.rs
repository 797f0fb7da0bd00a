//! File systems of the partitions, taken out of the disk images: FAT by `fsck.vfat` and mtools, ext4 by `e2fsck`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use lepton_builder::digest::Digest;
use lepton_formats::gpt::Guid;
use walkdir::WalkDir;

use super::case::{Defect, hold, scratch};
use super::plant::{Copy, copy_range};
use super::{Verdict, disk, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// The EFI system partitions of disk and CD: sound, and with the unified kernel image where firmware or boot manager
/// looks for it.
pub(super) fn fat(cx: &Context) -> Verdict {
    let uki = cx.artifact("efi")?;
    let (digest, uki_len) = Digest::of_file(&uki).map_err(TestError::file("read", &uki))?;
    for (artifact, folder) in [("raw", "EFI/Linux"), ("iso", "EFI/BOOT")] {
        let dir = scratch()?;
        let esp = partition(cx, &cx.artifact(artifact)?, Guid::ESP, dir.path())?;
        let judge = |esp: &Path| sound(cx, esp).and_then(|()| holds(cx, esp, folder, digest));
        let middle = |copy: &Copy| copy.flip(Fat::of(copy)?.data + uki_len / 2);
        let in_tables = |copy: &Copy, count: u64, bytes: &[u8]| {
            let fat = Fat::of(copy)?;
            (0..count.min(fat.tables))
                .try_for_each(|table| copy.write(fat.first + table * fat.len + 64, bytes))
        };
        hold(
            &esp,
            &judge,
            &[
                Defect::new("a chain that ends in free clusters", &|copy| in_tables(copy, 2, &[0; 64])),
                Defect::new("tables that differ", &|copy| in_tables(copy, 1, &[0; 3])),
                Defect::new("another kernel", &middle),
            ],
        )?;
    }
    Ok(())
}

fn sound(cx: &Context, esp: &Path) -> Verdict {
    let text = tool::ask("fsck.vfat", &tool::on(cx, "fsck.vfat", esp).arg("-n").arg(tool::shown(esp)))?;
    // What it would repair are further lines, and not all of them make it fail.
    require("fsck.vfat", text.lines().count() == 2 && text.contains(" files, "), || text)
}

/// Exactly one file of `folder` has this digest.
fn holds(cx: &Context, esp: &Path, folder: &str, digest: Digest) -> Verdict {
    let dir = scratch()?;
    let image = tool::shown(esp);
    let copy =
        tool::on(cx, "mcopy", esp).writable(dir.path(), "/out").args(["-s", "-i", &image, "::/EFI", "/out"]);
    tool::ask("mcopy", &copy)?;
    let mut found = 0;
    for entry in WalkDir::new(dir.path().join(folder)).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| refuse("mcopy", error.to_string()))?;
        let (other, _) = Digest::of_file(entry.path()).map_err(TestError::file("read", entry.path()))?;
        found += usize::from(other == digest);
    }
    require("mcopy", found == 1, || format!("{found} files of {folder} are the unified kernel image"))
}

/// Where a FAT volume has its tables, in bytes (Microsoft FAT specification, BIOS parameter block).
struct Fat {
    first: u64,
    len: u64,
    tables: u64,
    data: u64,
}

impl Fat {
    fn of(copy: &Copy) -> io::Result<Self> {
        let word = |at| copy.read(at).map(|bytes| u64::from(u16::from_le_bytes(bytes)));
        let sector = word(11)?;
        let sectors = match word(22)? {
            0 => u64::from(u32::from_le_bytes(copy.read(36)?)),
            sectors => sectors,
        };
        let [tables] = copy.read(16)?;
        let (first, len, tables) = (word(14)? * sector, sectors * sector, u64::from(tables));
        Ok(Self { first, len, tables, data: first + tables * len + word(17)? * 32 })
    }
}

/// The state partition.
pub(super) fn ext4(cx: &Context) -> Verdict {
    let dir = scratch()?;
    let state = partition(cx, &cx.artifact("raw")?, Guid::LINUX_VAR, dir.path())?;
    let judge = |state: &Path| {
        let text = tool::ask("e2fsck", &tool::on(cx, "e2fsck", state).arg("-fn").arg(tool::shown(state)))?;
        require("e2fsck", text.contains("lepton-state: "), || text)
    };
    hold(
        &state,
        &judge,
        &[
            Defect::new("a changed superblock", &|copy| copy.flip(1024 + 12)),
            Defect::new("a changed block bitmap", &|copy| copy.flip(block_bitmap(copy)?)),
        ],
    )
}

/// Byte offset of the first block bitmap: group descriptors lie in block 1, blocks have 4096 bytes.
fn block_bitmap(copy: &Copy) -> io::Result<u64> {
    Ok(u64::from(u32::from_le_bytes(copy.read(4096)?)) * 4096)
}

/// Takes the only partition of a type out of a disk, into `dir`.
fn partition(cx: &Context, disk: &Path, kind: Guid, dir: &Path) -> Result<PathBuf, TestError> {
    let kind = kind.to_string();
    let all = disk::partitions(cx, disk, 512)?;
    let mut of_kind = all.iter().filter(|partition| partition.kind.eq_ignore_ascii_case(&kind));
    let (Some(found), None) = (of_kind.next(), of_kind.next()) else {
        return Err(refuse("sfdisk", format!("{} has not one partition of type {kind}", disk.display())));
    };
    let path = dir.join("partition");
    let copy = || copy_range(&File::open(disk)?, found.start, found.len, &File::create_new(&path)?);
    copy().map_err(TestError::file("copy", disk))?;
    Ok(path)
}
