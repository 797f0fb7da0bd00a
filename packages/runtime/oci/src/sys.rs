//! seccomp(2), bpf(2), faccessat(2) and signal(2), which no safe crate offers as they are needed here.
#![expect(unsafe_code, reason = "system calls without a safe form")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};

use seccompiler::sock_filter;

/// Puts a filter on this process, without `no_new_privs`: that is the container's to decide.
pub(crate) fn install_filter(filter: &[sock_filter]) -> io::Result<()> {
    #[repr(C)]
    struct Program {
        length: libc::c_ushort,
        filter: *const sock_filter,
    }
    let length = libc::c_ushort::try_from(filter.len()).map_err(io::Error::other)?;
    let program = Program { length, filter: filter.as_ptr() };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the kernel copies the program, which lives until the call is over.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, std::ptr::from_ref(&program)) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives every signal its default action. What is ignored here would be so in the container's program: SIGPIPE, which
/// Rust's start ignores, and whatever the runtime was started with.
pub(crate) fn default_signals() {
    for number in 1..=libc::SIGRTMAX() {
        // SAFETY: no handler is installed. A number that cannot be changed is refused, which is as good.
        unsafe { libc::signal(number, libc::SIG_DFL) };
    }
}

/// Whether this process may execute a file; an error when it is not there or no file.
pub(crate) fn executable(path: &CStr) -> io::Result<bool> {
    let name = path.to_str().map_err(io::Error::other)?;
    let data = std::fs::metadata(name)?;
    if data.is_dir() {
        return Err(io::Error::other("is a directory"));
    }
    // SAFETY: the path ends with NUL and lives until the call is over.
    let result = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::X_OK, libc::AT_EACCESS) };
    Ok(result == 0)
}

/// One instruction of eBPF.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Instruction {
    /// What it does.
    pub(crate) code: u8,
    /// Destination register in the lower half, source in the upper.
    pub(crate) registers: u8,
    /// Of a jump or an access to memory.
    pub(crate) offset: i16,
    /// Its constant.
    pub(crate) constant: i32,
}

/// `union bpf_attr` as far as loading needs it.
#[repr(C)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attach: u32,
}

/// `union bpf_attr` as far as attaching needs it.
#[repr(C)]
struct Attach {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    replaced: u32,
}

/// `BPF_PROG_TYPE_CGROUP_DEVICE`
const CGROUP_DEVICE: u32 = 15;
/// `BPF_CGROUP_DEVICE`
const ATTACH_DEVICE: u32 = 6;
/// `BPF_F_ALLOW_MULTI`: programs of the cgroups above count, too.
const ALLOW_MULTI: u32 = 2;

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<RawFd> {
    // SAFETY: the kernel reads as many bytes as it is told, and writes none for these commands.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    match RawFd::try_from(result) {
        Ok(result) if result >= 0 => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Loads a program that decides on access to devices.
pub(crate) fn load(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let load = Load {
        kind: CGROUP_DEVICE,
        count: u32::try_from(instructions.len()).map_err(io::Error::other)?,
        instructions: instructions.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel: 0,
        flags: 0,
        name: *b"devices\0\0\0\0\0\0\0\0\0",
        interface: 0,
        attach: 0,
    };
    let program = bpf(5, &load)?;
    // SAFETY: the kernel just made it, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(program) })
}

/// Makes a program decide for a cgroup.
pub(crate) fn attach(program: &OwnedFd, cgroup: &std::fs::File) -> io::Result<()> {
    let number = |descriptor: RawFd| u32::try_from(descriptor).map_err(io::Error::other);
    let attach = Attach {
        target: number(cgroup.as_raw_fd())?,
        program: number(program.as_raw_fd())?,
        kind: ATTACH_DEVICE,
        flags: ALLOW_MULTI,
        replaced: 0,
    };
    bpf(8, &attach).map(drop)
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

/// Starts a copy of this process that is in a cgroup from its first moment on, a child of this one's parent, in a new PID
/// namespace if that is wanted; it ends with what `run` gives. This process must have one thread.
pub(crate) fn clone_sibling(
    cgroup: &std::fs::File,
    pid_namespace: bool,
    run: impl FnOnce() -> libc::c_int,
) -> io::Result<i32> {
    let namespace = if pid_namespace { libc::CLONE_NEWPID } else { 0 };
    let flags = u64::from((libc::CLONE_PARENT | namespace).cast_unsigned()) | CLONE_INTO_CGROUP;
    let cgroup = u64::try_from(cgroup.as_raw_fd()).map_err(io::Error::other)?;
    let arguments = CloneArguments { flags, cgroup, ..CloneArguments::default() };
    let size = size_of::<CloneArguments>();
    // SAFETY: without CLONE_VM it is a fork: the child has memory of its own, and no lock is held by another thread as
    // there is none.
    match unsafe { libc::syscall(libc::SYS_clone3, std::ptr::from_ref(&arguments), size) } {
        0 => {
            let code = run();
            // SAFETY: it runs nothing of this program any more.
            unsafe { libc::_exit(code) }
        }
        -1 => Err(io::Error::last_os_error()),
        pid => i32::try_from(pid).map_err(io::Error::other),
    }
}

/// `CLONE_INTO_CGROUP`
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Lets the next child be in a PID namespace.
pub(crate) fn enter_pid_namespace(path: &std::path::Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    // SAFETY: it concerns children that are made later.
    let result = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWPID) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
