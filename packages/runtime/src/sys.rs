//! System calls that no safe crate offers: mapped mounts (mount_setattr(2)), and files made as somebody else
//! (setfsuid(2)).
#![expect(unsafe_code, reason = "no safe crate offers these system calls")]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

/// `struct mount_attr`
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// `MOUNT_ATTR_IDMAP`
const IDMAP: u64 = 0x0010_0000;

/// Shows the owners of a detached mount as a user namespace maps them.
pub(crate) fn map_owners(mount: BorrowedFd<'_>, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let number = u64::try_from(user_namespace.as_raw_fd()).map_err(io::Error::other)?;
    let attributes = MountAttributes { set: IDMAP, clear: 0, propagation: 0, user_namespace: number };
    // SAFETY: the path is a C string, the structure has the size that is given, and the kernel keeps neither.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &raw const attributes,
            size_of::<MountAttributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes files as this user and group; `make` must not wait for anything, because the thread is somebody else meanwhile.
pub(crate) fn as_owner<T>(user: u32, group: u32, make: impl FnOnce() -> T) -> T {
    let old = (set_group(group), set_user(user));
    let made = make();
    set_user(old.1);
    set_group(old.0);
    made
}

/// The user that the calling thread makes files as; gives the one before.
fn set_user(user: u32) -> u32 {
    // SAFETY: it concerns the calling thread alone.
    unsafe { libc::setfsuid(user) }.cast_unsigned()
}

/// The group that the calling thread makes files as; gives the one before.
fn set_group(group: u32) -> u32 {
    // SAFETY: it concerns the calling thread alone.
    unsafe { libc::setfsgid(group) }.cast_unsigned()
}
