//! Makes an empty state file system: on a partition that is wiped, or on a blank disk with a new partition table.
//!
//! Both can be interrupted at any write and start again at the next boot, because a mark in the first sector comes
//! first and goes last. ext4 leaves the first 1024 bytes of a partition alone, and a disk with the mark in place of a
//! protective MBR has no partitions for anyone.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lepton_disks::choose::{ChooseError, choose};
use lepton_disks::grow::grow_table;
use lepton_disks::list::{self, Disk};
use lepton_disks::sys;
use lepton_formats::gpt::grow::GrowError;
use lepton_formats::gpt::{self, GptError, GptSpec, Guid, Mbr, Partition as Entry, Sectors};
use lepton_formats::simg::{self, SimgError};
use lepton_formats::{Seed, Sparse};
use rustix::rand::{GetRandomFlags, getrandom};

use super::LABEL;
use super::find::Partition;

/// The empty file system that the builder made.
const SKELETON: &str = "/usr/share/lepton/state.simg";
/// Start of the first sector while the rest is being written.
const MARK: &[u8] = b"lepton: the state on this device is being made anew\n";
/// Sector size of the mark's write: both sizes of sectors are whole multiples or the same.
const MARK_BYTES: usize = 4096;
/// Bytes written at a time.
const COPY_BYTES: usize = 1 << 20;
/// Bytes at the start and the end of a disk that hold nothing on a blank one: all partition tables and the
/// signatures of all usual file systems and volume managers lie there.
const LOOKED_AT: u64 = 1 << 20;
/// How long the kernel may take to show a partition it was just told of.
const APPEAR: Duration = Duration::from_secs(2);

/// Why nothing was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MakeError {
    /// No disk, or the wrong one.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// Somebody's data may be there.
    #[error(
        "{disk} is not blank: there are bytes at {offset}; `blkdiscard` or zeroes over its first and last MiB make it so"
    )]
    NotBlank {
        /// The disk.
        disk: String,
        /// Where the first byte was found.
        offset: u64,
    },
    /// The image's empty file system is unusable.
    #[error("cannot use {SKELETON}")]
    Skeleton(#[from] SimgError),
    /// The partition table.
    #[error("cannot lay out the disk")]
    Table(#[from] GptError),
    /// Its size.
    #[error(transparent)]
    Grow(#[from] GrowError),
    /// The disk cannot be read or written.
    #[error("cannot write the disk")]
    Io(#[from] io::Error),
    /// The new partition did not appear.
    #[error("the kernel does not show the new partition of {0}")]
    Unseen(String),
}

/// Whether a file system was begun on `device` and not finished.
pub(super) fn has_begun(device: &Path) -> bool {
    let mut bytes = [0; MARK.len()];
    let read = File::open(device).and_then(|file| file.read_exact_at(&mut bytes, 0));
    read.is_ok() && bytes == MARK
}

/// Writes the empty file system to the partition `device`; everything on it is lost.
pub(super) fn anew(device: &Path) -> Result<(), MakeError> {
    let image = simg::read(&fs::read(SKELETON)?)?;
    let file = File::options().read(true).write(true).open(device)?;
    write_anew(&file, 0, &image)?;
    Ok(())
}

/// What is written to: a device, or memory in tests.
trait Target {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn flush(&self) -> io::Result<()>;
}

impl Target for File {
    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Every byte is written, zeroes too: a journal block of the file system before must not be taken for one of this.
fn write_anew(target: &impl Target, at: u64, image: &Sparse) -> io::Result<()> {
    let mut first = vec![0; MARK_BYTES];
    image.read_at(&mut first, 0)?;
    let mut marked = first.clone();
    marked[..MARK.len()].copy_from_slice(MARK);
    // The mark stands beside the old superblock's place, so this block has none: nobody mounts a mixture.
    let mut mark_alone = vec![0; MARK_BYTES];
    mark_alone[..MARK.len()].copy_from_slice(MARK);
    target.write(&mark_alone, at)?;
    target.flush()?;
    let mut buffer = vec![0; COPY_BYTES];
    let mut offset = MARK_BYTES as u64;
    while offset < image.len() {
        let count = usize::try_from(image.len() - offset).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        image.read_at(&mut buffer[..count], offset)?;
        target.write(&buffer[..count], at + offset)?;
        offset += count as u64;
    }
    target.flush()?;
    target.write(&marked, at)?;
    target.flush()?;
    target.write(&first, at)?;
    target.flush()
}

/// Makes a state partition that fills the blank disk which `wanted` names.
pub(super) fn on_blank_disk(wanted: &str) -> Result<Partition, MakeError> {
    let image = simg::read(&fs::read(SKELETON)?)?;
    let table = table(&image, random()?)?;
    let disks = list::disks();
    let disk = choose(&disks, wanted, table.len())?;
    let file = File::options().read(true).write(true).open(disk.path())?;
    if !has_begun(&disk.path()) {
        must_be_blank(&file, disk)?;
    }
    write_disk(&file, disk.sector, &table, &image)?;
    grow_table(disk, LABEL)?;
    sys::reread_partitions(&file)?;
    let name = disk.partition(1);
    let node = Path::new("/dev").join(&name);
    for _ in 0..APPEAR.as_millis() / 10 {
        if node.exists() {
            return Ok(Partition { name, disk: disk.name.clone(), is_state: true });
        }
        sleep(Duration::from_millis(10));
    }
    Err(MakeError::Unseen(disk.name.clone()))
}

/// A disk with nothing but a state partition of the image's size.
fn table(image: &Sparse, random: [u8; 32]) -> Result<Sparse, MakeError> {
    let seed = Seed::new(random);
    let start = LOOKED_AT;
    let mut table = Sparse::new(start + image.len() + LOOKED_AT);
    let entry = Entry {
        kind: Guid::LINUX_VAR,
        id: Guid::from_seed(&seed, "partition"),
        name: LABEL.to_owned(),
        attributes: 0,
        offset: start,
        len: image.len(),
    };
    let (sectors, disk) = (Sectors::S512And4096, Guid::from_seed(&seed, "disk"));
    gpt::write(&mut table, &GptSpec { sectors, mbr: Mbr::Protective, disk, partitions: &[entry] })?;
    Ok(table)
}

/// The mark, then partition and tables, then the protective MBR in place of the mark.
fn write_disk(target: &impl Target, sector: u64, table: &Sparse, image: &Sparse) -> io::Result<()> {
    let mut mark = vec![0; MARK_BYTES];
    mark[..MARK.len()].copy_from_slice(MARK);
    target.write(&mark, 0)?;
    target.flush()?;
    write_anew(target, LOOKED_AT, image)?;
    // A disk has one sector size; the table of the other would only confuse who guesses.
    let other = if sector == 512 { 4096 } else { 512 };
    for (offset, content) in table.extents() {
        if offset >= MARK_BYTES as u64 && offset != other && offset != table.len() - other {
            let mut bytes = content.to_vec()?;
            bytes.resize(bytes.len().next_multiple_of(if sector == 512 { 512 } else { 4096 }), 0);
            target.write(&bytes, offset)?;
        }
    }
    target.flush()?;
    // The header of 512-byte sectors lies in the block of the MBR, beside the mark.
    let mut first = vec![0; MARK_BYTES];
    table.read_at(&mut first, 0)?;
    if sector != 512 {
        first[512..].fill(0);
    }
    let mut marked = first.clone();
    marked[..512].copy_from_slice(&mark[..512]);
    target.write(&marked, 0)?;
    target.flush()?;
    target.write(&first, 0)?;
    target.flush()
}

fn must_be_blank(file: &File, disk: &Disk) -> Result<(), MakeError> {
    let mut buffer = vec![0; usize::try_from(LOOKED_AT).map_err(io::Error::other)?];
    for start in [0, disk.bytes.saturating_sub(LOOKED_AT)] {
        file.read_exact_at(&mut buffer, start)?;
        if let Some(at) = buffer.iter().position(|byte| *byte != 0) {
            return Err(MakeError::NotBlank { disk: disk.name.clone(), offset: start + at as u64 });
        }
    }
    Ok(())
}

fn random() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    getrandom(&mut bytes, GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
