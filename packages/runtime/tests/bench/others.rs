//! Programs of a tool tree, started with the tree as their root: a C library of their own, and no loader between them
//! and the kernel, because crun and runc start themselves again.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind_recursive, mount_change, unmount,
};

use crate::host::Host;

/// Folders that come from the host.
const HOST: [&str; 4] = ["dev", "proc", "sys", "tmp"];

/// The tree, with what a program needs of the host.
pub(crate) struct Others {
    root: PathBuf,
    _place: tempfile::TempDir,
}

impl Others {
    pub(crate) fn new(tree: &Path, host: &Host) -> Self {
        // What is mounted there later, namespaces of pods among it, is seen below the other root, too.
        let folder = host.path("");
        mount_bind_recursive(&folder, &folder).unwrap();
        mount_change(&folder, MountPropagationFlags::SHARED | MountPropagationFlags::REC).unwrap();
        // The root of a process must be a mount for pivot_root(2), and what that is mounted on must not be shared.
        let place = tempfile::tempdir().unwrap();
        let root = place.path().to_owned();
        mount("tmpfs", &root, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        for entry in std::fs::read_dir(tree).unwrap() {
            let entry = entry.unwrap();
            let to = root.join(entry.file_name());
            if entry.file_type().unwrap().is_symlink() {
                std::os::unix::fs::symlink(std::fs::read_link(entry.path()).unwrap(), to).unwrap();
            } else {
                std::fs::create_dir_all(&to).unwrap();
                mount_bind_recursive(entry.path(), &to).unwrap();
            }
        }
        for (link, target) in
            [("lib", "usr/lib"), ("lib64", "usr/lib64"), ("bin", "usr/bin"), ("sbin", "usr/sbin")]
        {
            if !root.join(link).exists() {
                std::os::unix::fs::symlink(target, root.join(link)).unwrap();
            }
        }
        for name in HOST {
            std::fs::create_dir_all(root.join(name)).unwrap();
            mount_bind_recursive(Path::new("/").join(name), root.join(name)).unwrap();
        }
        Self { root, _place: place }
    }

    /// Starts a program of the tree.
    pub(crate) fn spawn(&self, program: &str, more: impl FnOnce(&mut Command) + Send) -> Child {
        let folders = ["usr/bin", "usr/sbin"];
        let path = folders.map(|folder| Path::new("/").join(folder).join(program));
        let path = path.into_iter().find(|path| self.root.join(path.strip_prefix("/").unwrap()).exists());
        let path = path.expect("the tree has it");
        let start = move || {
            // This thread alone gets another root, and what it starts.
            #[expect(deprecated, reason = "its safe form; the flag concerns no memory or descriptors")]
            rustix::thread::unshare(rustix::thread::UnshareFlags::FS).unwrap();
            rustix::process::chroot(&self.root).unwrap();
            rustix::process::chdir("/").unwrap();
            let mut command = Command::new(path);
            more(&mut command);
            command.spawn().unwrap()
        };
        std::thread::scope(|scope| scope.spawn(start).join().unwrap())
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        let _ = unmount(&self.root, UnmountFlags::DETACH);
    }
}
