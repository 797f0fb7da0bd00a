//! From the initrd into the image: mounts `/rootfs.erofs` and makes it `/`.
//!
//! The image stays a file in the initrd's memory and is never unpacked: erofs reads its compressed blocks from
//! the page cache that the kernel filled from the initrd, so it costs its compressed size and nothing else.
//! The program itself is not started again, because it is static and its pages are in that page cache, too.

use std::{fs, io};

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount, mount_bind, mount_move};
use rustix::process::{chdir, chroot};

use crate::step::Failure;
use crate::{files, kmsg};

/// The root file system inside the initrd.
const IMAGE: &str = "/rootfs.erofs";
/// Where it is mounted until it becomes `/`.
const NEW_ROOT: &str = "/sysroot";

/// The unified kernel image that `install.ipxe` adds to the initrd.
const MEDIUM: &str = "/uki.efi";
/// The folder of the initrd that stays.
const KEPT: &str = "/medium";

/// `RAMFS_MAGIC` of statfs(2).
const RAMFS: u64 = 0x8584_58f6;

/// Why the root could not be entered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RootError {
    /// The initrd is incomplete.
    #[error("the initrd holds no {IMAGE}")]
    Missing(#[source] io::Error),
    /// The initrd lies in a tmpfs, which cannot back a mounted file.
    #[error("cannot mount {IMAGE} from a tmpfs")]
    NotRamfs(#[source] io::Error),
    /// The kernel refuses the image.
    #[error("cannot mount {IMAGE}")]
    Refused(#[source] io::Error),
    /// Another step of the move failed.
    #[error("cannot {action}")]
    Move {
        /// What was tried.
        action: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Failure for RootError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("give the kernel the initrd of the image"),
            Self::NotRamfs(_) => Some("add rootfstype=ramfs to the kernel command line"),
            Self::Refused(_) => {
                Some("the kernel needs EROFS_FS_BACKED_BY_FILE and the compression that the image uses")
            }
            Self::Move { .. } => None,
        }
    }
}

fn tried<T>(action: impl Into<String>, result: Result<T, impl Into<io::Error>>) -> Result<T, RootError> {
    result.map_err(|source| RootError::Move { action: action.into(), source: source.into() })
}

/// Mounts the image beside the initrd's own files.
pub fn mount_image() -> Result<(), RootError> {
    tried(format!("make {NEW_ROOT}"), fs::create_dir(NEW_ROOT))?;
    // Set-id programs and devices have no place in the image: services get capabilities from PID 1, and
    // devices are in /dev.
    let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    mount(IMAGE, NEW_ROOT, "erofs", flags, None).map_err(|errno| match errno {
        Errno::NOENT => RootError::Missing(errno.into()),
        Errno::NOTBLK => RootError::NotRamfs(errno.into()),
        _ => RootError::Refused(errno.into()),
    })
}

/// Makes the mounted image `/`, with the mounts the initrd already has, and frees the initrd's other files.
pub fn enter() -> Result<(), RootError> {
    for name in ["dev", "proc", "sys"] {
        let (old, new) = (format!("/{name}"), format!("{NEW_ROOT}/{name}"));
        tried(format!("move {old} to {new}"), mount_move(&old, &new))?;
    }
    keep_medium();
    free_initrd();
    // pivot_root(2) does not work on the kernel's first root, so the new root covers it instead.
    tried(format!("enter {NEW_ROOT}"), chdir(NEW_ROOT))?;
    tried(format!("move {NEW_ROOT} to /"), mount_move(".", "/"))?;
    tried("change root", chroot("."))?;
    tried("enter /", chdir("/"))
}

/// Keeps the unified kernel image that a network boot put beside the initrd, for the installer: without its name in
/// the image's root it would be memory that nobody can read.
fn keep_medium() {
    let place = format!("{NEW_ROOT}/usr/share/lepton/install/medium");
    if fs::metadata(MEDIUM).is_err() || fs::metadata(&place).is_err() {
        return;
    }
    let kept = fs::create_dir(KEPT)
        .and_then(|()| fs::rename(MEDIUM, format!("{KEPT}{MEDIUM}")))
        .and_then(|()| Ok(mount_bind(KEPT, &place)?));
    if let Err(error) = kept {
        kmsg::warn(&format!("cannot keep {MEDIUM} of the initrd: {error}"));
    }
}

/// Removes what lies in the initrd's memory.
///
/// The image and this program keep their memory although their names go: erofs has the one open, and the
/// other is mapped. Their pages are freed with them, and nothing can reach or change them by name.
fn free_initrd() {
    // Removing names is right only in the initrd; a file system of any other kind belongs to somebody.
    if !rustix::fs::statfs("/").is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(RAMFS)) {
        return;
    }
    for name in files::list_dir("/").unwrap_or_default() {
        let path = format!("/{name}");
        if path == NEW_ROOT || path == KEPT {
            continue;
        }
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            kmsg::warn(&format!("cannot free {path} of the initrd: {error}"));
        }
    }
}
