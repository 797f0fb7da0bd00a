//! A folder that files are delivered into, which may be somebody else's.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Uid, fchmod, fchown, fstat, fsync, mkdirat,
    openat, openat2, renameat, unlinkat,
};

/// Of a folder that is made: its owner and group alone get in.
const FOLDER_MODE: u32 = 0o750;
/// No delivered file is longer.
const LONGEST: u64 = 4 << 20;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// A name beside the file's own. One that was left by a stopped host is replaced.
pub(super) fn temporary(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    format!(".{name}.lepton-new")
}

fn name(path: &Path) -> io::Result<&std::ffi::OsStr> {
    path.file_name().ok_or_else(|| ErrorKind::InvalidInput.into())
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    if !path.is_absolute() {
        return Err(ErrorKind::InvalidInput.into());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // Who owns a folder on the way could lead us anywhere.
    Ok(openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?)
}

impl Folder {
    /// The folder of a file. If it alone is missing it is made, for that user and group.
    pub(super) fn open(path: &Path, (uid, gid): (u32, u32)) -> io::Result<Self> {
        match Self::open_existing(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        let folder = path.parent().ok_or(ErrorKind::InvalidInput)?;
        let above = open(folder.parent().ok_or(ErrorKind::InvalidInput)?)?;
        let is_ours = match mkdirat(&above, name(folder)?, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(rustix::io::Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&above, name(folder)?, flags, Mode::empty())?;
        // Somebody who owns the folder above may have put another one there; that is given to nobody.
        let status = fstat(&made)?;
        if is_ours && (status.st_uid, status.st_mode & 0o777) == (rustix::process::geteuid().as_raw(), 0o700)
        {
            fchown(&made, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            fchmod(&made, Mode::from_raw_mode(FOLDER_MODE))?;
        }
        Ok(Self(made))
    }

    /// The folder of a file, which is there.
    pub(super) fn open_existing(path: &Path) -> io::Result<Self> {
        open(path.parent().ok_or(ErrorKind::InvalidInput)?).map(Self)
    }

    /// The file of that path in it, if it is one.
    fn file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(&self.0, name(path)?, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(ErrorKind::InvalidInput.into());
        }
        Ok(File::from(file))
    }

    /// Whether the file has these bytes, this owner and this mode.
    pub(super) fn has(&self, path: &Path, bytes: &[u8], owner: (u32, u32), mode: u32) -> bool {
        let Ok(file) = self.file(path, OFlags::RDONLY) else { return false };
        let Ok(metadata) = file.metadata() else { return false };
        if (metadata.uid(), metadata.gid()) != owner || metadata.mode() & 0o7777 != mode {
            return false;
        }
        let mut there = zeroize::Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
        file.take(LONGEST).read_to_end(&mut there).is_ok() && **there == *bytes
    }

    /// Makes a file that is complete, and on the disk.
    pub(super) fn make(&self, name: &str, bytes: &[u8], (uid, gid): (u32, u32), mode: u32) -> io::Result<()> {
        match unlinkat(&self.0, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(openat(&self.0, name, flags, Mode::from_raw_mode(0o600))?);
        let written = (|| {
            // Before there is anything to be read.
            fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            file.write_all(bytes)?;
            fchmod(&file, Mode::from_raw_mode(mode))?;
            file.sync_all()
        })();
        if written.is_err() {
            self.forget(name);
        }
        written
    }

    /// Removes a file that was made, as far as that can be done.
    pub(super) fn forget(&self, name: &str) {
        let _ = unlinkat(&self.0, name, AtFlags::empty());
    }

    /// Gives a file of it the name of that path.
    pub(super) fn rename(&self, from: &str, path: &Path) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, name(path)?)?)
    }

    /// Waits until names are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(fsync(&self.0)?)
    }

    /// Overwrites the file and removes its name, and the one that it had before.
    pub(super) fn wipe(&self, path: &Path) -> io::Result<()> {
        for name in [temporary(path).as_str(), &name(path)?.to_string_lossy()] {
            match self.file(Path::new(name), OFlags::WRONLY) {
                Ok(mut file) => {
                    let size = file.metadata()?.len().min(LONGEST);
                    file.seek(SeekFrom::Start(0))?;
                    io::copy(&mut io::repeat(0).take(size), &mut file)?;
                    file.sync_all()?;
                }
                // Links and whatever else has the name are removed alone.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(_) => {}
            }
            unlinkat(&self.0, name, AtFlags::empty())?;
        }
        self.sync()
    }
}
