//! Files of a folder with keys: each appears whole or not at all, and those with keys are their owner's alone from the
//! first byte on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// No certificate or key is longer.
const LONGEST: u64 = 256 * 1024;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readers {
    /// Its owner alone.
    Owner,
    /// Everybody.
    All,
}

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Existing {
    /// It stays, and that is an error.
    Keep,
    /// The new one takes its place.
    Replace,
}

/// Why a file could not be dealt with.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct FileError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl FileError {
    /// Whether there is no such file.
    pub fn is_absent(&self) -> bool {
        self.source.kind() == ErrorKind::NotFound
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError { action, path, source }
}

/// Makes a folder that its owner alone can look into; one that is there stays as it is.
pub(crate) fn make_folder(path: &Path) -> Result<(), FileError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed("make", path))
}

/// A file's text, which is overwritten in memory when it is dropped.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<String>, FileError> {
    let mut text = Zeroizing::new(String::new());
    let read = File::open(path).and_then(|file| {
        // At once, so that no piece of it is left behind in a smaller allocation.
        text.reserve(usize::try_from(file.metadata()?.len().min(LONGEST)).unwrap_or(0));
        file.take(LONGEST).read_to_string(&mut text)
    });
    read.map_err(failed("read", path))?;
    Ok(text)
}

/// Writes a file in one step.
pub(crate) fn write(path: &Path, text: &str, readers: Readers, existing: Existing) -> Result<(), FileError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.new"));
    let mode = match readers {
        Readers::Owner => 0o600,
        Readers::All => 0o644,
    };
    let put = || {
        // What an interrupted call left; never through a link.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match existing {
            Existing::Replace => fs::rename(&fresh, path),
            // A link, unlike a rename, takes no other file's place.
            Existing::Keep => {
                let linked = fs::hard_link(&fresh, path);
                fs::remove_file(&fresh)?;
                linked
            }
        }
    };
    put().map_err(failed("write", path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn whole_private_and_never_lost() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        make_folder(&folder).unwrap();
        make_folder(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);

        let path = folder.join("key");
        // Somebody else's link in the place of the half-written file.
        let victim = dir.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, folder.join(".key.new")).unwrap();
        write(&path, "one", Readers::Owner, Existing::Keep).unwrap();
        assert_eq!((read(&path).unwrap().as_str(), mode(&path)), ("one", 0o600));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");

        let error = write(&path, "two", Readers::Owner, Existing::Keep).unwrap_err();
        assert_eq!(error.source.kind(), ErrorKind::AlreadyExists);
        assert_eq!(read(&path).unwrap().as_str(), "one");
        write(&path, "two", Readers::All, Existing::Replace).unwrap();
        assert_eq!((read(&path).unwrap().as_str(), mode(&path)), ("two", 0o644));
        assert!(read(&folder.join("absent")).unwrap_err().is_absent());
    }
}
