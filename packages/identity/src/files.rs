//! Files with secrets: they appear whole or not at all, root alone reads them, and when they go they are overwritten.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Root alone.
const PRIVATE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;
/// Ten thousand identities.
const LONGEST: u64 = 128 * 1024 * 1024;

/// Why a file could not be dealt with.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub(crate) struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// For `map_err`.
pub(crate) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { action, path, source }
}

/// Makes a folder that root alone can look into, with those it lies in.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(PRIVATE_FOLDER).create(path).map_err(failed("make", path))
}

/// The file's content; none when there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let mut content = Zeroizing::new(Vec::new());
    match File::open(path).and_then(|file| {
        // At once, so that no piece of it is left behind in a smaller allocation.
        content.reserve(usize::try_from(file.metadata()?.len()).unwrap_or(0));
        file.take(LONGEST).read_to_end(&mut content)
    }) {
        Ok(_) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Writes a file in one step: after a power cut there is the old one or the new one. The old one is overwritten then.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let fresh = fresh(path);
    let put = || {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(PRIVATE).open(&fresh)?;
        file.write_all(content)?;
        file.sync_all()?;
        let old = OpenOptions::new().write(true).open(path).ok();
        fs::rename(&fresh, path)?;
        sync_folder(path)?;
        // A link less leads to it, and what it holds is still on the disk.
        old.map_or(Ok(()), |old| overwrite(&old))
    };
    put().map_err(failed("write", path))
}

/// Overwrites and removes what an interrupted [`write`] of a file has left, if it has.
pub(crate) fn clean(path: &Path) -> Result<(), FileError> {
    wipe_one(&fresh(path))
}

/// Overwrites and removes a file, if it is there, with what an interrupted [`write`] of it has left.
pub(crate) fn wipe(path: &Path) -> Result<(), FileError> {
    wipe_one(&fresh(path))?;
    wipe_one(path)
}

fn wipe_one(path: &Path) -> Result<(), FileError> {
    let gone = || {
        overwrite(&OpenOptions::new().write(true).open(path)?)?;
        fs::remove_file(path)?;
        sync_folder(path)
    };
    match gone() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("wipe", path)(error)),
        _ => Ok(()),
    }
}

fn fresh(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

fn overwrite(mut file: &File) -> io::Result<()> {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut left = file.metadata()?.len();
    while left > 0 {
        let count = left.min(ZEROS.len() as u64);
        file.write_all(ZEROS.get(..usize::try_from(count).unwrap_or(ZEROS.len())).unwrap_or(&ZEROS))?;
        left -= count;
    }
    file.sync_all()
}

fn sync_folder(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Whether what is written there survives a restart: a file system in memory does not.
pub(crate) fn is_persistent(path: &Path) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::statfs(path).is_ok_and(|found| {
        // Its type differs from one architecture to the other.
        #[expect(clippy::allow_attributes, reason = "it is needed on some architectures only")]
        #[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the type differs")]
        let kind = i64::from(found.f_type) & 0xffff_ffff;
        kind != TMPFS && kind != RAMFS
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    use super::*;

    #[test]
    fn whole_private_and_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        make_folder(path.parent().unwrap()).unwrap();
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(read(&path).unwrap(), None);
        write(&path, b"first").unwrap();
        // A second name shows what happens to the bytes of the old file.
        let other = folder.path().join("other");
        fs::hard_link(&path, &other).unwrap();
        write(&path, b"second").unwrap();
        assert_eq!(fs::read(&other).unwrap(), [0; 5]);
        assert_eq!(read(&path).unwrap().unwrap().as_slice(), b"second");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);

        fs::hard_link(&path, folder.path().join("third")).unwrap();
        fs::write(fresh(&path), b"half").unwrap();
        wipe(&path).unwrap();
        wipe(&path).unwrap();
        assert_eq!(fs::read(folder.path().join("third")).unwrap(), [0; 6]);
        assert!(!path.exists() && !fresh(&path).exists());
    }
}
