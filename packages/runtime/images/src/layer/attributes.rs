//! Owner, mode, time and extended attributes of what a layer brings, and the two marks that overlayfs knows.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::Errno;

use super::tar::Entry;

/// overlayfs does not look below a folder with this attribute.
const OPAQUE: &str = "trusted.overlay.opaque";

/// What a file or folder has besides its content.
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: (i64, u32),
}

impl Attributes {
    /// Those of an entry.
    pub(super) fn of_entry(entry: &Entry) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
    }

    /// Those of a file that is there.
    #[expect(
        clippy::unnecessary_cast,
        clippy::cast_possible_truncation,
        reason = "the types of stat's fields differ between processors, and nanoseconds are below 2^30"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let mtime = (stat.st_mtime as i64, stat.st_mtime_nsec as u32);
        Self { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid, mtime }
    }

    /// Those of a folder that no archive has an entry for.
    pub(super) fn of_implied_folder() -> Self {
        Self { mode: 0o755, uid: own_user(), gid: own_group(), mtime: (0, 0) }
    }
}

fn own_user() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn own_group() -> u32 {
    rustix::process::getegid().as_raw()
}

/// Sets owner and mode of a new file or folder, in the order that keeps set-user-ID bits.
pub(super) fn set(file: impl AsFd, attributes: &Attributes) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = foreign_owner(attributes) {
        rustix::fs::fchown(&file, Some(uid), Some(gid))?;
    }
    rustix::fs::fchmod(&file, Mode::from(attributes.mode))
}

/// The owner, unless the file has it already.
fn foreign_owner(attributes: &Attributes) -> Option<(Uid, Gid)> {
    let is_own = (attributes.uid, attributes.gid) == (own_user(), own_group());
    (!is_own).then(|| (Uid::from_raw(attributes.uid), Gid::from_raw(attributes.gid)))
}

/// The same for what cannot be opened.
pub(super) fn set_at(
    folder: BorrowedFd<'_>,
    name: &[u8],
    attributes: &Attributes,
    has_mode: bool,
) -> rustix::io::Result<()> {
    if let Some((uid, gid)) = foreign_owner(attributes) {
        rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if has_mode {
        // It was made just now, and is no link.
        rustix::fs::chmodat(folder, name, Mode::from(attributes.mode), AtFlags::empty())?;
    }
    rustix::fs::utimensat(folder, name, &times(attributes.mtime), AtFlags::SYMLINK_NOFOLLOW)
}

/// Sets the time of the last change.
pub(super) fn set_time(file: impl AsFd, mtime: (i64, u32)) -> rustix::io::Result<()> {
    rustix::fs::futimens(file, &times(mtime))
}

fn times((seconds, nanos): (i64, u32)) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanos.into() },
    }
}

/// Sets the extended attributes that containers need: file capabilities and those of users. Others are left out, above
/// all overlayfs's own, by which a layer could show files of its neighbours, and labels of the builder's host.
pub(super) fn set_xattrs(file: impl AsFd, xattrs: &[(Vec<u8>, Vec<u8>)]) -> rustix::io::Result<()> {
    for (name, value) in xattrs {
        let is_user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        if !is_user && name != b"security.capability" {
            continue;
        }
        match rustix::fs::fsetxattr(&file, name.as_slice(), value, XattrFlags::empty()) {
            // Not every file system keeps users' attributes; programs do not rely on them.
            Err(Errno::OPNOTSUPP | Errno::PERM) if is_user => {}
            done => done?,
        }
    }
    Ok(())
}

pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Marks a name as removed from lower layers.
pub(super) fn make_whiteout(folder: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::mknodat(folder, name, FileType::CharacterDevice, Mode::empty(), 0)
}

pub(super) fn make_opaque(folder: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsetxattr(folder, OPAQUE, b"y", XattrFlags::empty())
}

pub(super) fn is_opaque(folder: impl AsFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(folder, OPAQUE, &mut value[..]).is_ok_and(|length| length == 1 && value == *b"y")
}
