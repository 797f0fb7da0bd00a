//! What a service sees of the file system: a mount namespace of its own, when its table asks for one.
//!
//! Mounts that the host makes later appear in it; mounts of the service stay in it.

use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use lepton_service_spec::ServiceSpec;
use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, FileType, Mode, StatVfsMountFlags, makedev, mknodat, statvfs};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_move,
    mount_remount,
};

use super::{LaunchError, step};

/// Where a /dev is put together before it is moved to its place; PID 1 makes the folder.
pub const STAGE: &str = "/run/lepton/private";

/// The nodes of a private /dev: name and minor number, all with major number 1 (admin-guide/devices.txt).
const NODES: [(&str, u32); 5] = [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];
/// Links of /dev, as PID 1 makes them for the host.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];

/// Enters the service's own view, if it has one.
pub(super) fn enter(spec: &ServiceSpec) -> Result<(), LaunchError> {
    let paths = [&spec.read_only, &spec.hidden, &spec.writable];
    if !spec.private_tmp && !spec.private_dev && paths.iter().all(|paths| paths.is_empty()) {
        return Ok(());
    }
    step("leave the host's mounts", unshare(CloneFlags::CLONE_NEWNS))?;
    let below = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    step("keep mounts private", mount_change("/", below))?;
    if spec.private_tmp {
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        step("mount a private /tmp", mount("tmpfs", "/tmp", "tmpfs", flags, c"mode=1777,size=10%"))?;
    }
    if spec.private_dev {
        step("make a private /dev", private_dev())?;
    }
    for path in spec.read_only.iter().filter(|path| Path::new(path).exists()) {
        step(format!("make {path} read-only"), bind_again(path, Access::Read))?;
    }
    for path in spec.writable.iter().filter(|path| Path::new(path).exists()) {
        step(format!("make {path} writable"), bind_again(path, Access::Write))?;
    }
    for path in spec.hidden.iter().filter(|path| Path::new(path).exists()) {
        step(format!("hide {path}"), hide(path))?;
    }
    Ok(())
}

/// The device nodes that every program may use, on a file system of their own.
fn private_dev() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    mount("tmpfs", STAGE, "tmpfs", flags, c"mode=0755,size=64k,nr_inodes=64")?;
    for (name, minor) in NODES {
        node(name, makedev(1, minor))?;
    }
    node("tty", makedev(5, 0))?;
    for (target, name) in LINKS {
        symlink(target, format!("{STAGE}/{name}"))?;
    }
    let shm = format!("{STAGE}/shm");
    std::fs::create_dir(&shm)?;
    mount("tmpfs", &*shm, "tmpfs", flags | MountFlags::NODEV, c"mode=1777,size=10%")?;
    Ok(mount_move(STAGE, "/dev")?)
}

fn node(name: &str, device: u64) -> io::Result<()> {
    let path = format!("{STAGE}/{name}");
    mknodat(CWD, &path, FileType::CharacterDevice, Mode::from_raw_mode(0o666), device)?;
    // The mode of mknod(2) is cut by the mask that was inherited.
    Ok(rustix::fs::chmod(&path, Mode::from_raw_mode(0o666))?)
}

/// How a path is seen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

/// Mounts `path` onto itself with another access; what is mounted below it keeps its own.
fn bind_again(path: &str, access: Access) -> io::Result<()> {
    mount_bind_recursive(path, path)?;
    // A remount sets every flag anew, so those that were there are named again.
    let was = statvfs(path)?.f_flag;
    let mut flags = MountFlags::BIND;
    for (old, flag) in [
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if was.contains(old) {
            flags |= flag;
        }
    }
    if access == Access::Read {
        flags |= MountFlags::RDONLY;
    }
    Ok(mount_remount(path, flags, c"")?)
}

/// An empty folder or file over `path`.
fn hide(path: &str) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(mount_bind("/dev/null", path)?);
    }
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount("tmpfs", path, "tmpfs", flags, c"mode=0555,nr_inodes=2,size=4k")?)
}
