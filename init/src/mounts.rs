//! The file systems every host has, as one table in mount order; `/` is in `root.rs` and `/var` in `state.rs`.
//!
//! Everything that can be written is `nosuid,nodev`, and kernel interfaces are `noexec` as well.

use std::ffi::CStr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::{fs, io};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::kmsg;
use crate::step::{Failure, chain};

/// Whether a boot can go on without a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// The boot fails without it.
    Required,
    /// One warning, and the boot goes on.
    Optional,
}

/// When a row is mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the initrd, to be moved into the root later.
    Initrd,
    /// In the root.
    Root,
}

/// One row: the arguments of mount(2) and what its failure means.
#[derive(Clone, Copy, Debug)]
pub struct Mount {
    /// Absolute path of the mount point.
    pub target: &'static str,
    /// Name of the file system type; also its source, because none of these has a device.
    pub fs_type: &'static str,
    /// Per-mount flags.
    pub flags: MountFlags,
    /// Options of the file system itself.
    pub data: Option<&'static CStr>,
    /// What a failure means.
    pub need: Need,
    /// When it is mounted.
    pub stage: Stage,
}

/// A mount that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {fs_type} on {target}")]
pub struct MountError {
    target: &'static str,
    fs_type: &'static str,
    source: io::Error,
}

impl Failure for MountError {}

/// Files of users: programs may be started, devices and set-id bits mean nothing.
const FILES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);
/// Interfaces of the kernel: nothing there is a program.
const KERNEL: MountFlags = FILES.union(MountFlags::NOEXEC);
/// The kernel's own choice for devtmpfs (`DEVTMPFS_SAFE`).
const DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

use Need::{Optional, Required};
use Stage::{Initrd, Root};

const fn row(
    (stage, need): (Stage, Need),
    target: &'static str,
    fs_type: &'static str,
    flags: MountFlags,
    data: Option<&'static CStr>,
) -> Mount {
    Mount { target, fs_type, flags, data, need, stage }
}

/// All rows; a mount point comes after the file system it lies in.
pub const TABLE: &[Mount] = &[
    row((Initrd, Required), "/dev", "devtmpfs", DEVICES, Some(c"mode=0755")),
    // Without hidepid: a service that must not see other processes gets a private /proc, and services that
    // look at others (kubelet, identity) need not share a group.
    row((Initrd, Required), "/proc", "proc", KERNEL, None),
    row((Initrd, Required), "/sys", "sysfs", KERNEL, None),
    // nsdelegate: a container may manage only its own subtree. memory_recursiveprot: memory.low of a pod
    // protects its containers without setting it on each. favordynmods: moving a process to another cgroup takes
    // microseconds, and not the 5 to 15 ms that the kernel waits for all processors otherwise.
    row(
        (Root, Required),
        "/sys/fs/cgroup",
        "cgroup2",
        KERNEL,
        Some(c"nsdelegate,memory_recursiveprot,favordynmods"),
    ),
    // Group 5 is the traditional `tty`, which owns terminals so that write(1) works.
    row((Root, Required), "/dev/pts", "devpts", DEVICES, Some(c"gid=5,mode=0620,ptmxmode=0666")),
    row((Root, Required), "/dev/shm", "tmpfs", FILES, Some(c"mode=1777,size=50%")),
    row((Root, Optional), "/dev/mqueue", "mqueue", KERNEL, None),
    // A quarter of memory each: two full ones still leave room to log in and look.
    row((Root, Required), "/run", "tmpfs", FILES, Some(c"mode=0755,size=25%")),
    row((Root, Required), "/tmp", "tmpfs", FILES, Some(c"mode=1777,size=25%")),
    // Text files only; a program that fills it must not take the host's memory.
    row((Root, Required), "/etc", "tmpfs", KERNEL, Some(c"mode=0755,size=16m")),
    row((Root, Optional), "/sys/kernel/security", "securityfs", KERNEL, None),
    row((Root, Optional), "/sys/firmware/efi/efivars", "efivarfs", KERNEL, None),
    row((Root, Optional), "/sys/fs/bpf", "bpf", KERNEL, Some(c"mode=0700")),
];

/// Mounts the rows of one stage, in order.
pub fn mount_stage(stage: Stage) -> Result<(), MountError> {
    for row in TABLE.iter().filter(|row| row.stage == stage) {
        // The kernel makes mount points in /sys for the features it has: no EFI, no directory.
        if row.need == Optional && row.target.starts_with("/sys/") && !Path::new(row.target).exists() {
            continue;
        }
        if let Err(source) = mount_row(row) {
            let error = MountError { target: row.target, fs_type: row.fs_type, source };
            match row.need {
                Required => return Err(error),
                Optional => kmsg::warn(&chain(&error)),
            }
        }
    }
    Ok(())
}

fn mount_row(row: &Mount) -> io::Result<()> {
    // The initrd and devtmpfs start without mount points; a read-only root must have its own.
    if row.stage == Initrd || row.target.starts_with("/dev/") {
        match fs::create_dir(row.target) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(mount(row.fs_type, row.target, row.fs_type, row.flags, row.data)?)
}

/// The links in `/dev` that programs expect and devtmpfs does not make.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

/// Makes the links in `/dev` that point to a program's own files.
pub fn link_devices() -> io::Result<()> {
    DEVICE_LINKS.iter().try_for_each(|(target, link)| symlink(target, link))
}

/// Makes every mount shared, so that what kubelet mounts for a pod reaches the runtime's namespaces.
///
/// This comes last: the kernel moves no mount out of a shared one.
pub fn share() -> io::Result<()> {
    Ok(mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mount_point_comes_after_the_file_system_it_lies_in() {
        for (index, row) in TABLE.iter().enumerate() {
            for earlier in &TABLE[..index] {
                assert!(!Path::new(earlier.target).starts_with(row.target), "{} hides it", row.target);
                assert!(earlier.stage == Initrd || row.stage == Root, "{} is too late", row.target);
            }
        }
    }

    #[test]
    fn nothing_honours_set_id_bits_and_only_dev_holds_devices() {
        for row in TABLE {
            assert!(row.flags.contains(MountFlags::NOSUID), "{}", row.target);
            let devices = row.target == "/dev" || row.target == "/dev/pts";
            assert_eq!(row.flags.contains(MountFlags::NODEV), !devices, "{}", row.target);
        }
    }
}
