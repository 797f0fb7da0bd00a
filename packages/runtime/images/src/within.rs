//! openat2(2) for names that must not lead out of a folder.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, Result};
use rustix::path::Arg;

/// Tries; each of them lasts microseconds.
const TRIES: usize = 10_000;

/// Opens what a path in a folder leads to.
///
/// While the kernel follows `..` it says EAGAIN when anything on the host is renamed or mounted, as it cannot be sure then
/// that the way does not lead out. That is no word on the path, and trying again is all that helps.
pub fn open(
    folder: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    resolve: ResolveFlags,
) -> Result<OwnedFd> {
    for _ in 1..TRIES {
        match rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) => {}
            result => return result,
        }
    }
    rustix::fs::openat2(&folder, path, flags, Mode::empty(), resolve)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Without the tries about every hundredth look fails here.
    #[test]
    fn renames_elsewhere_do_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
        std::fs::write(dir.path().join("x"), "").unwrap();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::fs::rename(dir.path().join("x"), dir.path().join("y")).unwrap();
                    std::fs::rename(dir.path().join("y"), dir.path().join("x")).unwrap();
                }
            });
            let root = std::fs::File::open(dir.path()).unwrap();
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let path = "a/b/c/../../../a/b/c/../../../a/b/c/../../../a/b/c/../../../a";
            let failed =
                (0..20_000).filter(|_| open(&root, path, flags, ResolveFlags::IN_ROOT).is_err()).count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0);
        });
    }
}
