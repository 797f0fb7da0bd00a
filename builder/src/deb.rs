//! Unpacks the data part of Debian packages (deb(5)). No maintainer script ever runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Folders that no tool reads: a fifth of the unpacked bytes, and the only files that packages of two
/// architectures share by design.
const LEFT_OUT: [&str; 5] =
    ["usr/share/doc", "usr/share/info", "usr/share/lintian", "usr/share/locale", "usr/share/man"];

/// A package that cannot be unpacked.
#[derive(Debug, thiserror::Error)]
#[error("cannot unpack {deb}: {what}")]
pub struct DebError {
    deb: PathBuf,
    what: String,
    source: Option<io::Error>,
}

/// What of a package's documentation is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Docs {
    /// Nothing.
    LeftOut,
    /// The copyright file, for packages whose files go into an image.
    Copyright,
}

/// Unpacks `deb` into `root`, where packages unpacked before may share folders.
pub fn unpack(deb: &Path, root: &Path, docs: Docs) -> Result<(), DebError> {
    let fail = |what: &str, source| DebError { deb: deb.to_owned(), what: what.to_owned(), source };
    let file = File::open(deb).map_err(|error| fail("it cannot be read", Some(error)))?;
    let mut archive = ar::Archive::new(file);
    while let Some(entry) = archive.next_entry() {
        let entry = entry.map_err(|error| fail("it is not an ar archive", Some(error)))?;
        let name = String::from_utf8_lossy(entry.header().identifier()).into_owned();
        let stream: Box<dyn Read + '_> = match name.as_str() {
            "data.tar.xz" => Box::new(lzma_rust2::XzReader::new(io::BufReader::new(entry), true)),
            "data.tar.zst" => Box::new(
                zstd::Decoder::new(entry).map_err(|error| fail("its data is not zstd", Some(error)))?,
            ),
            _ => continue,
        };
        return unpack_tar(stream, root, docs)
            .map_err(|error| fail("its data cannot be written", Some(error)));
    }
    Err(fail("it holds no data.tar.xz or data.tar.zst", None))
}

fn unpack_tar(stream: impl Read, root: &Path, docs: Docs) -> io::Result<()> {
    let mut tar = tar::Archive::new(stream);
    tar.set_preserve_permissions(false);
    tar.set_preserve_mtime(true);
    // Two packages with the same file would make the tree depend on their order.
    tar.set_overwrite(false);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let plain_path = path.strip_prefix(".").unwrap_or(&path);
        let is_copyright = plain_path.starts_with(LEFT_OUT[0])
            && (plain_path.ends_with("copyright") || entry.header().entry_type().is_symlink());
        let is_wanted = docs == Docs::Copyright && is_copyright;
        if LEFT_OUT.iter().any(|folder| plain_path.starts_with(folder)) && !is_wanted {
            continue;
        }
        if !entry.header().entry_type().is_dir() {
            entry.unpack_in(root)?;
            continue;
        }
        // Folders of other packages are kept as they are, and stay writable for those that follow.
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !plain {
            return Err(io::Error::other(format!("{} would leave the tree", path.display())));
        }
        make_folders(root, &path)?;
    }
    Ok(())
}

/// Makes `path` below `root`, but never `root` itself: when that is gone, the build was interrupted.
fn make_folders(root: &Path, path: &Path) -> io::Result<()> {
    let mut folder = root.to_owned();
    for part in path.components() {
        folder.push(part);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
