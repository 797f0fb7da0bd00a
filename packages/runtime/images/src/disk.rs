//! Files and folders of the root folder: listed in order, replaced whole, counted, and removed without recursion, so that
//! no depth that an image or a container chose costs descriptors or stack. It never follows a link.

use std::ffi::{CStr, CString, OsString};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::record::Usage;

/// Flags of every folder that is opened here.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The names in a folder, sorted; a missing folder has none.
#[expect(clippy::disallowed_methods, reason = "the one directory listing of this crate, and it sorts")]
pub(crate) fn list(folder: &Path) -> io::Result<Vec<OsString>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = entries.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<OsString>>>()?;
    names.sort();
    Ok(names)
}

/// A path in a scratch folder that nothing else uses.
pub(crate) fn scratch(folder: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{}-{count}", std::process::id()))
}

/// Puts bytes under a name; readers see the former bytes or these, never a part.
pub(crate) fn replace(path: &Path, bytes: &[u8], scratch_folder: &Path, durable: bool) -> io::Result<()> {
    let unfinished = scratch(scratch_folder);
    let written = (|| {
        let mut file = File::create_new(&unfinished)?;
        file.write_all(bytes)?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
        return written;
    }
    sync_parent(path, durable)
}

/// Makes a rename last.
pub(crate) fn sync_parent(path: &Path, durable: bool) -> io::Result<()> {
    match path.parent() {
        Some(parent) if durable => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

/// Moves a file or folder out of sight, then removes it. One that is not there is removed already.
pub(crate) fn discard(path: &Path, scratch_folder: &Path) -> io::Result<()> {
    match hide(path, scratch_folder)? {
        Some(hidden) => remove_tree(&hidden),
        None => Ok(()),
    }
}

/// The first half of `discard`, which is quick.
pub(crate) fn hide(path: &Path, scratch_folder: &Path) -> io::Result<Option<PathBuf>> {
    let hidden = scratch(scratch_folder);
    match fs::rename(path, &hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        renamed => renamed.map(|()| Some(hidden)),
    }
}

/// Removes a file, or a folder with everything in it.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    use std::os::unix::ffi::OsStrExt as _;
    let parent = rustix::fs::open(parent, FOLDER, Mode::empty())?;
    let name = CString::new(name.as_bytes())?;
    Ok(remove_at(parent.as_fd(), &name)?)
}

/// Removes a name of a folder, with everything in it. One folder is open at a time, and its parent is found again through
/// `..`; nobody else moves folders here.
pub(crate) fn remove_at(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(Errno::NOENT) => return Ok(()),
        done => return done,
    }
    let mut names: Vec<CString> = vec![name.to_owned()];
    let mut current = rustix::fs::openat(parent, name, FOLDER, Mode::empty())?;
    loop {
        match first_folder(&current)? {
            Some(inner) => {
                let opened = rustix::fs::openat(&current, &inner, FOLDER, Mode::empty())?;
                names.push(inner);
                current = opened;
            }
            None => {
                let emptied = names.pop().expect("the folder that is open has a name");
                if names.is_empty() {
                    return rustix::fs::unlinkat(parent, &emptied, AtFlags::REMOVEDIR);
                }
                current = rustix::fs::openat(&current, c"..", FOLDER, Mode::empty())?;
                rustix::fs::unlinkat(&current, &emptied, AtFlags::REMOVEDIR)?;
            }
        }
    }
}

/// Removes what is no folder, and gives the first folder that is not empty.
fn first_folder(folder: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    let mut entries = Dir::read_from(folder)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let removed = match entry.file_type() {
            FileType::Directory => Err(Errno::ISDIR),
            _ => rustix::fs::unlinkat(folder, name, AtFlags::empty()),
        };
        match removed {
            Err(Errno::ISDIR | Errno::PERM) => {}
            done => {
                done?;
                continue;
            }
        }
        match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => return Ok(Some(name.to_owned())),
            done => done?,
        }
    }
    Ok(None)
}

/// Allocated bytes and inodes of a folder and everything in it. A file with several names counts once. What vanishes
/// meanwhile, or lies deeper than a path can be long, is not counted.
pub(crate) fn usage(folder: &Path) -> io::Result<Usage> {
    let root = rustix::fs::open(folder, FOLDER, Mode::empty())?;
    let mut usage = Usage::default();
    let mut linked = std::collections::BTreeSet::new();
    let mut waiting = vec![CString::new(".")?];
    count(&rustix::fs::fstat(&root)?, &mut usage);
    while let Some(path) = waiting.pop() {
        let within = rustix::fs::ResolveFlags::BENEATH | rustix::fs::ResolveFlags::NO_SYMLINKS;
        let Ok(current) = rustix::fs::openat2(&root, &path, FOLDER, Mode::empty(), within) else { continue };
        let mut entries = Dir::read_from(&current)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(stat) = rustix::fs::statat(&current, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let inner = [path.to_bytes(), b"/", name.to_bytes()].concat();
                waiting.push(CString::new(inner)?);
            } else if stat.st_nlink > 1 && !linked.insert((stat.st_dev, stat.st_ino)) {
                continue;
            }
            count(&stat, &mut usage);
        }
    }
    Ok(usage)
}

fn count(stat: &rustix::fs::Stat, usage: &mut Usage) {
    // Blocks of stat(2) are 512 bytes on every file system.
    usage.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
    usage.inodes += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deep_folder_is_counted_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut current = rustix::fs::open(&top, FOLDER, Mode::empty()).unwrap();
        // More levels than descriptors, and longer than a path can be.
        for _ in 0..3000 {
            rustix::fs::mkdirat(&current, c"dd", Mode::from(0o755)).unwrap();
            current = rustix::fs::openat(&current, c"dd", FOLDER, Mode::empty()).unwrap();
        }
        fs::write(top.join("file"), "text").unwrap();
        std::os::unix::fs::symlink("/nowhere", top.join("link")).unwrap();
        fs::hard_link(top.join("file"), top.join("again")).unwrap();
        assert!(usage(&top).unwrap().inodes > 1000);
        remove_tree(&top).unwrap();
        assert!(!top.exists());
        remove_tree(&top).unwrap();
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("kept/inner")).unwrap();
        fs::create_dir(dir.path().join("gone")).unwrap();
        std::os::unix::fs::symlink("../kept", dir.path().join("gone/link")).unwrap();
        assert_eq!(usage(&dir.path().join("gone")).unwrap().inodes, 2);
        remove_tree(&dir.path().join("gone")).unwrap();
        assert!(dir.path().join("kept/inner").exists());
    }

    #[test]
    fn replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, b"one", dir.path(), true).unwrap();
        replace(&path, b"two", dir.path(), true).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(list(dir.path()).unwrap(), ["file"]);
    }
}
