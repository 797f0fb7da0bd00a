//! Growing the state partition to its disk, and its file system to the partition.
//!
//! The table is a matter of milliseconds and is grown before the mount. The file system is grown while it is mounted
//! (`EXT4_IOC_RESIZE_FS`), which takes seconds on large disks: a child does that, which is this program started
//! again, while services start. An interrupted growth goes on at the next boot: the kernel's journal keeps the file
//! system sound at every step, and its size is compared each time.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use lepton_disks::{grow, list, sys};
use nix::sys::signal::SigSet;
use rustix::rand::{GetRandomFlags, getrandom};

use super::find::Partition;
use super::{LABEL, superblock};
use crate::kmsg::{self, Level};
use crate::{clock, files};

/// Name under which this program starts itself again for this task.
const CHILD: &str = "grow-state";

/// Grows the table and tells the kernel; nothing of it is worth failing a boot for.
pub(super) fn grow_table(partition: &Partition) {
    match try_grow_table(partition) {
        Ok(Some((old, new))) => {
            let mib = |bytes: u64| bytes >> 20;
            kmsg::log(
                Level::Notice,
                &format!("{}: partition grown from {} to {} MiB", partition.name, mib(old), mib(new)),
            );
        }
        Ok(None) => {}
        Err(error) => kmsg::warn(&format!("{} is not grown: {error}", partition.name)),
    }
}

fn try_grow_table(partition: &Partition) -> io::Result<Option<(u64, u64)>> {
    let disk = list::disk(&partition.disk)?;
    let grown = grow::grow_table(&disk, LABEL).map_err(io::Error::other)?;
    let Some(growth) = grown else { return Ok(None) };
    sys::resize_partition(File::open(disk.path())?, growth.number, growth.offset, growth.len)?;
    Ok(Some((growth.old_len, growth.len)))
}

/// Starts what may take long for the mounted `device`, if there is anything to do; PID 1 reaps it as any child.
#[expect(clippy::disallowed_methods, reason = "the child is this program, and is reaped as any other")]
pub fn start(device: &str) {
    let wanted = |needs: Needs| needs.blocks.is_some() || needs.uuid;
    if !needs(Path::new(device)).is_ok_and(wanted) {
        return;
    }
    let child = Command::new("/proc/self/exe").arg0(CHILD).arg(device).stdin(Stdio::null()).spawn();
    if let Err(error) = child {
        kmsg::warn(&format!("cannot start growing {device}: {error}"));
    }
}

/// What is left to do for a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Needs {
    /// Its new count of blocks.
    blocks: Option<u64>,
    /// Whether it still has the UUID of the image.
    uuid: bool,
}

fn needs(device: &Path) -> io::Result<Needs> {
    let superblock = superblock::read(device)?;
    let name = device.file_name().unwrap_or_default().to_string_lossy();
    let sectors: u64 =
        files::read_value(format!("/sys/class/block/{name}/size"))?.parse().map_err(io::Error::other)?;
    let blocks = sectors * 512 / superblock.block_bytes();
    Ok(Needs { blocks: (blocks > superblock.blocks()).then_some(blocks), uuid: superblock.is_anonymous() })
}

/// The child's whole life, when this process is that child; `None` otherwise.
pub fn run_child() -> Option<ExitCode> {
    let mut arguments = std::env::args();
    if arguments.next().as_deref() != Some(CHILD) {
        return None;
    }
    let device = arguments.next()?;
    // PID 1 has all signals blocked, and a child inherits that: it must end when the host stops.
    let _ = SigSet::all().thread_unblock();
    match settle(Path::new(&device)) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            kmsg::warn(&format!("cannot settle {device}: {error}"));
            Some(ExitCode::FAILURE)
        }
    }
}

/// Gives the file system on `/var` an identity and the size of its partition.
fn settle(device: &Path) -> io::Result<()> {
    let var = File::open("/var")?;
    let needs = needs(device)?;
    if needs.uuid {
        sys::set_ext4_uuid(&var, random_uuid()?)?;
    }
    if let Some(blocks) = needs.blocks {
        let started = clock::since_boot();
        sys::resize_ext4(&var, blocks)?;
        let took = clock::since_boot().saturating_sub(started).as_millis();
        kmsg::log(Level::Notice, &format!("/var grown to {blocks} blocks in {took} ms"));
    }
    Ok(())
}

/// A UUID of version 4 (RFC 9562).
fn random_uuid() -> io::Result<[u8; 16]> {
    let mut uuid = [0; 16];
    getrandom(&mut uuid, GetRandomFlags::empty())?;
    uuid[6] = (uuid[6] & 0x0f) | 0x40;
    uuid[8] = (uuid[8] & 0x3f) | 0x80;
    Ok(uuid)
}
