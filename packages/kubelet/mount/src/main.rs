//! `mount` and `umount` as kubelet calls them: one call of the kernel each.
//!
//! Under the name `umount` it unmounts. It reads no table and starts no helper: a file system that takes more than a call
//! of the kernel is not for it.

mod options;

use std::ffi::CString;
use std::process::ExitCode;

use options::{Action, Request};
use rustix::io::Errno;
use rustix::mount::{
    MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};

/// Exit codes of mount(8).
const WRONG_USAGE: u8 = 1;
const FAILED: u8 = 32;

fn main() -> ExitCode {
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    let is_umount = name.rsplit('/').next() == Some("umount");
    let request = if is_umount { options::umount(words) } else { options::mount(words) };
    let request = match request {
        Ok(request) => request,
        Err(message) => {
            eprintln!("{}: {message}", if is_umount { "umount" } else { "mount" });
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match perform(&request) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", sentence(&request, error));
            ExitCode::from(FAILED)
        }
    }
}

fn perform(request: &Request) -> Result<(), Errno> {
    let Request { source, target, fs_type, flags, data, .. } = request;
    match &request.action {
        Action::Unmount { is_forced: true } => unmount(target, UnmountFlags::FORCE),
        Action::Unmount { is_forced: false } => unmount(target, UnmountFlags::empty()),
        Action::Remount => mount_remount(target, *flags, data.as_c_str()),
        Action::Bind => mount_bind(source, target).and_then(|()| propagate(request)),
        Action::BindRecursive => mount_bind_recursive(source, target).and_then(|()| propagate(request)),
        Action::Propagate => propagate(request),
        Action::New => {
            let data: Option<&CString> = Some(data).filter(|data| !data.is_empty());
            mount(source, target, fs_type, *flags, data.map(CString::as_c_str))
                .and_then(|()| propagate(request))
        }
    }
}

/// What is mounted elsewhere below it.
fn propagate(request: &Request) -> Result<(), Errno> {
    if request.propagation == MountPropagationFlags::empty() {
        return Ok(());
    }
    mount_change(&request.target, request.propagation)
}

/// kubelet looks for "not mounted" and "no mount point specified" of mount(8)'s own words.
fn sentence(request: &Request, error: Errno) -> String {
    let target = &request.target;
    match (&request.action, error) {
        (Action::Unmount { .. }, Errno::INVAL) => format!("umount: {target}: not mounted."),
        (Action::Unmount { .. }, Errno::NOENT) => format!("umount: {target}: no mount point specified."),
        (Action::Unmount { .. }, Errno::BUSY) => format!("umount: {target}: target is busy."),
        (Action::Unmount { .. }, error) => format!("umount: {target}: {error}"),
        (_, error) => {
            format!("mount: {target}: cannot mount {} ({}): {error}", request.source, request.fs_type)
        }
    }
}
