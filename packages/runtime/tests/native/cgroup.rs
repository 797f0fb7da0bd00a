//! A cgroup of this test's own, which it and the runtime see as the root of the hierarchy: runtimes of other tests on the
//! machine take away what they do not know.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use rustix::thread::UnshareFlags;

const HIERARCHY: &str = "/sys/fs/cgroup";
/// Where this process itself lives: the root must stay empty, or no controller can be given to what is below it.
const LEAF: &str = "test";

/// The cgroup; gone, with all that is below it, when this is dropped.
pub(crate) struct OwnCgroup {
    /// The hierarchy's own root.
    root: OwnedFd,
    name: String,
}

impl OwnCgroup {
    /// Makes it and moves this process, which has one thread and a mount namespace of its own, into it.
    pub(crate) fn enter() -> rustix::io::Result<Self> {
        mount_hierarchy()?;
        let name = format!("lepton-native-{}", std::process::id());
        let leaf = PathBuf::from(HIERARCHY).join(&name);
        fs::create_dir(&leaf).map_err(errno)?;
        let root = openat(rustix::fs::CWD, HIERARCHY, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let own = Self { root, name };
        let pid = std::process::id().to_string();
        fs::write(leaf.join("cgroup.procs"), &pid).map_err(errno)?;
        #[expect(deprecated, reason = "its safe form; this process has one thread still")]
        rustix::thread::unshare(UnshareFlags::NEWCGROUP)?;
        unmount(HIERARCHY, UnmountFlags::DETACH)?;
        mount_hierarchy()?;
        let leaf = Path::new(HIERARCHY).join(LEAF);
        fs::create_dir(&leaf).map_err(errno)?;
        fs::write(leaf.join("cgroup.procs"), &pid).map_err(errno)?;
        Ok(own)
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let moved = openat(&self.root, "cgroup.procs", flags, Mode::empty())
            .and_then(|procs| rustix::io::write(procs, std::process::id().to_string().as_bytes()));
        remove_below(Path::new(HIERARCHY));
        if let Err(error) = moved.and(unlinkat(&self.root, &self.name, AtFlags::REMOVEDIR)) {
            eprintln!("the cgroup {} stays: {error}", self.name);
        }
    }
}

/// Takes away the cgroups below `folder`, the deepest first; what still runs keeps its own.
fn remove_below(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn mount_hierarchy() -> rustix::io::Result<()> {
    mount("cgroup2", HIERARCHY, "cgroup2", MountFlags::empty(), None::<&std::ffi::CStr>)
}

fn errno(error: std::io::Error) -> rustix::io::Errno {
    rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO)
}
