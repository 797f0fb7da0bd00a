//! Fills `/etc`, which is in memory, with the image's defaults.
//!
//! The defaults lie in `/usr/share/lepton/etc`; every file keeps its mode and owner, and links are copied as
//! links.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use crate::files;
use crate::step::Failure;

/// Where the image keeps the first contents of `/etc`.
const DEFAULTS: &str = "/usr/share/lepton/etc";

/// A default that could not be copied.
#[derive(Debug, thiserror::Error)]
#[error("cannot copy {}", path.display())]
pub struct CopyError {
    path: PathBuf,
    source: io::Error,
}

impl Failure for CopyError {}

/// Copies the image's defaults to `/etc`; an image without defaults has an empty `/etc`.
pub fn fill() -> Result<(), CopyError> {
    match Path::new(DEFAULTS).exists() {
        true => copy_tree(Path::new(DEFAULTS), Path::new("/etc")),
        false => Ok(()),
    }
}

/// Puts the image's default of a path below `/etc` back, or removes what is there.
pub fn restore(path: &str) -> io::Result<()> {
    let default = format!("{DEFAULTS}/{}", path.strip_prefix("/etc/").unwrap_or_default());
    restore_from(Path::new(&default), Path::new(path))
}

fn restore_from(default: &Path, path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match copy_entry(default, path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Copies everything below `from` into the existing directory `to`.
pub fn copy_tree(from: &Path, to: &Path) -> Result<(), CopyError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| CopyError { path, source }
    };
    for name in files::list_dir(from).map_err(failed(from))? {
        let (source, target) = (from.join(&name), to.join(&name));
        let metadata = copy_entry(&source, &target).map_err(failed(&source))?;
        if metadata.is_dir() {
            copy_tree(&source, &target)?;
        }
    }
    Ok(())
}

fn copy_entry(source: &Path, target: &Path) -> io::Result<Metadata> {
    let metadata = fs::symlink_metadata(source)?;
    if metadata.is_symlink() {
        symlink(fs::read_link(source)?, target)?;
    } else if metadata.is_dir() {
        fs::create_dir(target)?;
    } else {
        fs::copy(source, target)?;
    }
    // A new file belongs to root already, which nearly every default does.
    if (metadata.uid(), metadata.gid()) != (0, 0) {
        lchown(target, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    if !metadata.is_symlink() {
        // After the owner, because changing the owner clears set-id bits; links have no mode.
        fs::set_permissions(target, Permissions::from_mode(metadata.mode() & 0o7777))?;
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_files_links_and_modes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("ssl/private")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("ssl/private/key"), b"k").unwrap();
        symlink("../run/resolv.conf", from.join("resolv.conf")).unwrap();
        for (name, mode) in [("ssl/private", 0o700), ("ssl/private/key", 0o440)] {
            fs::set_permissions(from.join(name), Permissions::from_mode(mode)).unwrap();
        }

        copy_tree(&from, &to).unwrap();

        assert_eq!(fs::read(to.join("ssl/private/key")).unwrap(), b"k");
        assert_eq!(fs::metadata(to.join("ssl/private/key")).unwrap().mode() & 0o7777, 0o440);
        assert_eq!(fs::metadata(to.join("ssl/private")).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(fs::read_link(to.join("resolv.conf")).unwrap(), Path::new("../run/resolv.conf"));
    }

    #[test]
    fn a_default_comes_back_and_what_has_none_goes() {
        let dir = tempfile::tempdir().unwrap();
        let (default, path) = (dir.path().join("default"), dir.path().join("motd"));
        fs::write(&path, "of a config").unwrap();
        restore_from(&default, &path).unwrap();
        assert!(!path.exists());
        restore_from(&default, &path).unwrap();
        fs::write(&default, "of the image").unwrap();
        fs::write(&path, "of a config").unwrap();
        restore_from(&default, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"of the image");
    }

    #[test]
    fn the_error_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        fs::create_dir(&from).unwrap();
        fs::write(from.join("a"), b"").unwrap();
        let error = copy_tree(&from, &dir.path().join("missing")).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot copy {}", from.join("a").display()));
    }
}
