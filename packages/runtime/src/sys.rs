//! System calls that no safe crate offers: mapped mounts (mount_setattr(2)), files made as somebody else (setfsuid(2)),
//! and processes that are made within a cgroup (clone3(2)).
#![expect(unsafe_code, reason = "no safe crate offers these system calls")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

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

/// `struct clone_args`
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Exit status of a program that could not be executed, as shells have it.
const NOT_EXECUTED: libc::c_int = 127;

/// Starts a program that is in a cgroup from its first moment on (moving it there later makes the kernel wait until no
/// processor forks), in a process group of its own, without environment. `words` begins with its path; input, output and
/// errors are descriptors above 2. Gives a descriptor of the process, whose end is the caller's to wait for.
pub(crate) fn start(
    words: &[CString],
    cgroup: BorrowedFd<'_>,
    stdio: [BorrowedFd<'_>; 3],
) -> io::Result<OwnedFd> {
    let program = words.first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut argv: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    argv.push(std::ptr::null());
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    let mut process: RawFd = -1;
    let arguments = CloneArguments {
        flags: u64::from(libc::CLONE_PIDFD.cast_unsigned()) | CLONE_INTO_CGROUP,
        pidfd: std::ptr::from_mut(&mut process) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        cgroup: u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?,
        ..CloneArguments::default()
    };
    let size = size_of::<CloneArguments>();
    // SAFETY: without CLONE_VM it is a fork. Other threads may hold locks, so the child makes system calls alone, with
    // memory that was prepared before, until it is another program or ends.
    match unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size) } {
        0 => {
            let _ = dup2_stdin(stdio[0]);
            let _ = dup2_stdout(stdio[1]);
            let _ = dup2_stderr(stdio[2]);
            let _ = rustix::process::setpgid(None, None);
            let _ = rustix::process::chdir(c"/");
            // SAFETY: strings and lists end as they must, and live until this process has other memory.
            unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), environment.as_ptr()) };
            // SAFETY: it runs nothing of this program any more.
            unsafe { libc::_exit(NOT_EXECUTED) }
        }
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel just made it, and nobody else has it.
        _ => Ok(unsafe { OwnedFd::from_raw_fd(process) }),
    }
}

/// `CLONE_INTO_CGROUP`
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
