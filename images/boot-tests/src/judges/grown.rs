//! A disk that a host has written to: its table by `sgdisk` and `sfdisk`, its state partition by `e2fsck`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use lepton_formats::gpt::Guid;

use super::case::scratch;
use super::plant::copy_range;
use super::{Verdict, disk, require, tool};
use crate::Context;
use crate::context::TestError;

/// Partitions end this many bytes before the disk does at most: a backup table, rounded up to a MiB.
const TAIL: u64 = 2 << 20;
/// Bytes of a block of our file systems.
const BLOCK: u64 = 4096;

/// The state partition reaches the end of the disk, and its file system the end of the partition; both are sound, and
/// the file system has an identity of its own.
pub(crate) fn state(cx: &Context, path: &Path, sector: u64) -> Verdict {
    table(cx, path, sector)?;
    let found = state_partition(cx, path, sector)?;
    let len = std::fs::metadata(path).map_err(TestError::file("read", path))?.len();
    let end = found.start + found.len;
    require("sfdisk", end + TAIL > len, || format!("the state partition ends at {end} of {len} bytes"))?;
    let superblock = Superblock::read(path, found.start)?;
    let blocks = superblock.blocks();
    require("superblock", blocks == found.len / BLOCK, || {
        format!("the file system has {blocks} blocks in a partition of {} bytes", found.len)
    })?;
    require("superblock", superblock.0[110] >> 4 == 4, || "its UUID is not a random one".to_owned())?;
    file_system(cx, path, found.start, found.len)
}

/// The partition table is sound, and the only one.
fn table(cx: &Context, path: &Path, sector: u64) -> Verdict {
    if sector == 512 {
        let text = tool::ask("sgdisk", &tool::on(cx, "sgdisk", path).arg("--verify").arg(tool::shown(path)))?;
        let is_whole = !text.contains("CRC") && !text.contains("corrupt");
        require("sgdisk", is_whole && text.contains("No problems found"), || text)?;
    }
    let size = sector.to_string();
    let verify =
        tool::on(cx, "sfdisk", path).args(["--sector-size", &size, "--verify"]).arg(tool::shown(path));
    let text = tool::ask("sfdisk", &verify)?;
    require("sfdisk", text.contains("No errors detected."), || text)?;
    let other = if sector == 512 { 4096 } else { 512 };
    let mut signature = [0; 8];
    let read = File::open(path).and_then(|file| file.read_exact_at(&mut signature, other));
    read.map_err(TestError::file("read", path))?;
    require("reader", signature != *b"EFI PART", || format!("there is a table for sectors of {other} bytes"))
}

fn state_partition(cx: &Context, path: &Path, sector: u64) -> Result<disk::Partition, TestError> {
    let kind = Guid::LINUX_VAR.to_string();
    let all = disk::partitions(cx, path, sector)?;
    let found = all.into_iter().find(|partition| partition.kind.eq_ignore_ascii_case(&kind));
    found.ok_or_else(|| super::refuse("sfdisk", "there is no state partition"))
}

/// `e2fsck` finds no mistake in the bytes `start..start + len`.
fn file_system(cx: &Context, path: &Path, start: u64, len: u64) -> Verdict {
    let dir = scratch()?;
    let part = dir.path().join("partition");
    let copy = || copy_range(&File::open(path)?, start, len, &File::create_new(&part)?);
    copy().map_err(TestError::file("copy", path))?;
    let text = tool::ask("e2fsck", &tool::on(cx, "e2fsck", &part).arg("-fn").arg(tool::shown(&part)))?;
    require("e2fsck", text.contains("lepton-state: "), || text)
}

/// Marks the state partition's file system as one in which the kernel found a mistake.
pub(crate) fn plant_error(cx: &Context, path: &Path) -> Verdict {
    let start = state_partition(cx, path, 512)?.start;
    let place = format!("/in/disk?offset={start}");
    let tool =
        tool::on(cx, "debugfs", path).writable(path, "/in/disk").args(["-w", "-R", "ssv state 2", &place]);
    tool::ask("debugfs", &tool)?;
    let state = Superblock::read(path, start)?.0[58];
    require("debugfs", state & 2 != 0, || "the mark is not there".to_owned())
}

/// What the state partition's superblock on a disk says, for tests that look while a guest runs.
pub(crate) struct Superblock(Vec<u8>);

impl Superblock {
    /// Of the file system that starts at byte `start`.
    pub(crate) fn read(path: &Path, start: u64) -> Result<Self, TestError> {
        let read = || {
            let mut bytes = vec![0; 1024];
            File::open(path)?.read_exact_at(&mut bytes, start + 1024)?;
            Ok::<_, io::Error>(bytes)
        };
        read().map(Self).map_err(TestError::file("read", path))
    }

    /// Count of blocks.
    pub(crate) fn blocks(&self) -> u64 {
        let long = |at: usize| {
            u64::from(u32::from_le_bytes([self.0[at], self.0[at + 1], self.0[at + 2], self.0[at + 3]]))
        };
        long(336) << 32 | long(4)
    }

    /// The UUID.
    pub(crate) fn uuid(&self) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.0[104..120]);
        uuid
    }
}

/// A copy of the raw disk artifact in `dir`, as long as a disk of `len` bytes.
pub(crate) fn on_larger_disk(cx: &Context, dir: &Path, len: u64) -> Result<std::path::PathBuf, TestError> {
    let (from, to) = (cx.artifact("raw")?, dir.join("disk.raw"));
    let copy = super::plant::Copy::make(&from, &to).map_err(TestError::file("copy", &from))?;
    copy.set_len(len).map_err(TestError::file("enlarge", &to))?;
    Ok(to)
}
