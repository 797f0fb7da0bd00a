//! Blobs by digest. One appears under its digest only after every byte was hashed; a download that broke off stays as a
//! partial one, and the next try goes on where it ended.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::digest::{Digest, Hasher};
use crate::disk;

/// What is wrong with content.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Other bytes than the digest names.
    #[error("{wanted} has other content: its digest is {found}")]
    Digest {
        /// What it was named.
        wanted: Digest,
        /// What it is.
        found: Digest,
    },
    /// Fewer or more bytes than the descriptor says.
    #[error("{digest} has {found} bytes instead of {wanted}")]
    Size {
        /// Which.
        digest: Digest,
        /// As the descriptor says.
        wanted: u64,
        /// As it came; the first byte too many ends it.
        found: u64,
    },
    /// A blob that is not there.
    #[error("{0} is not on this host")]
    Missing(Digest),
    /// A blob that is larger than its kind may be.
    #[error("{digest} has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk.
    #[error("cannot {what} {path}", path = path.display())]
    Disk {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// The blobs of the root folder, and those of read-only layouts.
#[derive(Debug)]
pub(crate) struct Blobs {
    folder: PathBuf,
    partial: PathBuf,
    scratch: PathBuf,
    elsewhere: Vec<PathBuf>,
    durable: bool,
}

impl Blobs {
    /// `elsewhere` are folders of blobs that are only read.
    pub(crate) fn new(root: &Path, elsewhere: Vec<PathBuf>, durable: bool) -> Self {
        Self {
            folder: root.join("blobs/sha256"),
            partial: root.join("partial"),
            scratch: root.join("scratch"),
            elsewhere,
            durable,
        }
    }

    pub(crate) fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(digest.hex())
    }

    /// Opens a blob of the size that its descriptor says. One of another size is damaged, and removed.
    pub(crate) fn open(&self, digest: Digest, size: u64) -> Result<Option<File>, ContentError> {
        let own = self.path(digest);
        if let Some((file, found)) = opened(&own)? {
            if found == size {
                return Ok(Some(file));
            }
            eprintln!("images: {digest} has {found} bytes instead of {size}; it is removed");
            fs::remove_file(&own).map_err(|source| disk_error("remove", &own, source))?;
        }
        for folder in &self.elsewhere {
            if let Some((file, found)) = opened(&folder.join(digest.hex()))?
                && found == size
            {
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// The bytes of a small blob, verified.
    pub(crate) fn read(&self, digest: Digest, size: u64, limit: u64) -> Result<Vec<u8>, ContentError> {
        if size > limit {
            return Err(ContentError::TooLarge { digest, size, limit });
        }
        let file = self.open(digest, size)?.ok_or(ContentError::Missing(digest))?;
        self.verified(digest, file, limit)
    }

    /// The same for a blob whose size nobody says.
    pub(crate) fn read_unsized(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut folders = std::iter::once(&self.folder).chain(&self.elsewhere);
        let found = folders.find_map(|folder| opened(&folder.join(digest.hex())).transpose());
        let (file, size) = found.ok_or(ContentError::Missing(digest))??;
        if size > limit {
            return Err(ContentError::TooLarge { digest, size, limit });
        }
        self.verified(digest, file, limit)
    }

    fn verified(&self, digest: Digest, file: File, limit: u64) -> Result<Vec<u8>, ContentError> {
        let mut bytes = Vec::new();
        let read = file.take(limit + 1).read_to_end(&mut bytes);
        read.map_err(|source| disk_error("read", &self.path(digest), source))?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(ContentError::Digest { wanted: digest, found });
        }
        Ok(bytes)
    }

    /// Stores bytes whose digest is known to be right.
    pub(crate) fn store(&self, digest: Digest, bytes: &[u8]) -> Result<(), ContentError> {
        let path = self.path(digest);
        disk::replace(&path, bytes, &self.scratch, self.durable)
            .map_err(|source| disk_error("write", &path, source))
    }

    /// Begins a blob, or goes on with a partial one. Only one at a time may work on a digest.
    pub(crate) fn ingest(&self, digest: Digest, size: u64) -> Result<Ingest, ContentError> {
        let partial = self.partial.join(digest.hex());
        let failed = |source| disk_error("write", &partial, source);
        let mut file = locked(&partial).map_err(failed)?;
        let (mut hasher, mut written) = (Hasher::new(), 0);
        if file.metadata().map_err(failed)?.len() <= size {
            let mut buffer = vec![0; 1 << 17];
            loop {
                let count = file.read(&mut buffer).map_err(failed)?;
                if count == 0 {
                    break;
                }
                hasher.update(&buffer[..count]);
                written += count as u64;
            }
        } else {
            file.set_len(0).map_err(failed)?;
        }
        let place = Place { partial, path: self.path(digest), durable: self.durable };
        Ok(Ingest { file, hasher, written, size, digest, place })
    }

    /// Stores what a reader gives, and names it by its digest, which `accept` sees before.
    pub(crate) fn take(
        &self,
        reader: &mut dyn io::Read,
        limit: u64,
        accept: impl FnOnce(Digest) -> Result<(), ContentError>,
    ) -> Result<(Digest, u64), ContentError> {
        let unfinished = disk::scratch(&self.scratch);
        let failed = |source| disk_error("write", &unfinished, source);
        let stored = (|| {
            let mut file = File::create_new(&unfinished).map_err(failed)?;
            let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0, vec![0; 1 << 17]);
            loop {
                let count = reader.read(&mut buffer).map_err(failed)?;
                if count == 0 {
                    break;
                }
                size += count as u64;
                hasher.update(&buffer[..count]);
                if size > limit {
                    return Err(ContentError::TooLarge { digest: hasher.finish(), size, limit });
                }
                file.write_all(&buffer[..count]).map_err(failed)?;
            }
            if self.durable {
                file.sync_all().map_err(failed)?;
            }
            let digest = hasher.finish();
            accept(digest)?;
            fs::rename(&unfinished, self.path(digest)).map_err(failed)?;
            Ok((digest, size))
        })();
        if stored.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        stored
    }

    /// The digests of all blobs of the root folder, and whether each is only a part.
    pub(crate) fn all(&self) -> io::Result<Vec<(Digest, bool, PathBuf)>> {
        let mut found = Vec::new();
        for (folder, is_partial) in [(&self.folder, false), (&self.partial, true)] {
            for name in disk::list(folder)? {
                if let Some(digest) = name.to_str().and_then(Digest::from_hex) {
                    found.push((digest, is_partial, folder.join(name)));
                }
            }
        }
        Ok(found)
    }
}

/// Opens or makes a file that nobody else writes to. A writer whose pull was given up can still have the last pieces to
/// write, and the file can have got its final name meanwhile.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)?;
        let (found, named) = (file.metadata()?, fs::metadata(path));
        if named.is_ok_and(|named| (named.dev(), named.ino()) == (found.dev(), found.ino())) {
            return Ok(file);
        }
    }
}

/// A file and its size.
fn opened(path: &Path) -> Result<Option<(File, u64)>, ContentError> {
    let failed = |source| disk_error("open", path, source);
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        file => {
            let file = file.map_err(failed)?;
            let size = file.metadata().map_err(failed)?.len();
            Ok(Some((file, size)))
        }
    }
}

pub(crate) fn disk_error(what: &'static str, path: &Path, source: io::Error) -> ContentError {
    ContentError::Disk { what, path: path.to_owned(), source }
}

/// A blob on its way.
pub(crate) struct Ingest {
    file: File,
    hasher: Hasher,
    written: u64,
    size: u64,
    digest: Digest,
    place: Place,
}

struct Place {
    partial: PathBuf,
    path: PathBuf,
    durable: bool,
}

impl Ingest {
    /// How many bytes are there.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Forgets them: the registry begins from the start.
    pub(crate) fn restart(&mut self) -> Result<(), ContentError> {
        use std::io::Seek as _;
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|source| disk_error("write", &self.place.partial, source))?;
        (self.hasher, self.written) = (Hasher::new(), 0);
        Ok(())
    }

    /// Takes the next bytes; one too many ends it, and the part is gone.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), ContentError> {
        if bytes.len() as u64 > self.size - self.written {
            let found = self.written + bytes.len() as u64;
            self.abandon();
            return Err(ContentError::Size { digest: self.digest, wanted: self.size, found });
        }
        self.file.write_all(bytes).map_err(|source| disk_error("write", &self.place.partial, source))?;
        self.hasher.update(bytes);
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Gives it its name, when size and digest are right.
    pub(crate) fn finish(self) -> Result<(), ContentError> {
        if self.written != self.size {
            return Err(ContentError::Size { digest: self.digest, wanted: self.size, found: self.written });
        }
        let found = self.hasher.clone().finish();
        if found != self.digest {
            self.abandon();
            return Err(ContentError::Digest { wanted: self.digest, found });
        }
        let Place { partial, path, durable } = &self.place;
        let named = (|| {
            if *durable {
                self.file.sync_all()?;
            }
            fs::rename(partial, path)?;
            disk::sync_parent(path, *durable)
        })();
        named.map_err(|source| disk_error("write", path, source))
    }

    fn abandon(&self) {
        let _ = fs::remove_file(&self.place.partial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(root: &Path) -> Blobs {
        for folder in ["blobs/sha256", "partial", "scratch"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        Blobs::new(root, Vec::new(), false)
    }

    #[test]
    fn a_broken_download_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"one two");
        let mut first = blobs.ingest(digest, 7).unwrap();
        first.write(b"one").unwrap();
        drop(first);
        assert!(blobs.open(digest, 7).unwrap().is_none());
        let mut second = blobs.ingest(digest, 7).unwrap();
        assert_eq!(second.written(), 3);
        second.write(b" two").unwrap();
        second.finish().unwrap();
        assert_eq!(blobs.read(digest, 7, 100).unwrap(), b"one two");
    }

    #[test]
    fn other_content_gets_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"wanted!");
        let mut wrong = blobs.ingest(digest, 7).unwrap();
        wrong.write(b"another").unwrap();
        assert!(matches!(wrong.finish(), Err(ContentError::Digest { .. })));
        let mut long = blobs.ingest(digest, 7).unwrap();
        assert_eq!(long.written(), 0);
        assert!(matches!(long.write(b"wanted!!"), Err(ContentError::Size { found: 8, .. })));
        let mut short = blobs.ingest(digest, 7).unwrap();
        short.write(b"want").unwrap();
        assert!(matches!(short.finish(), Err(ContentError::Size { found: 4, .. })));
        assert!(blobs.open(digest, 7).unwrap().is_none());
    }

    #[test]
    fn a_damaged_blob_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = blobs(dir.path());
        let digest = Digest::of(b"content");
        blobs.store(digest, b"content").unwrap();
        fs::write(blobs.path(digest), "CONTENT").unwrap();
        assert!(matches!(blobs.read(digest, 7, 100), Err(ContentError::Digest { .. })));
        fs::write(blobs.path(digest), "cont").unwrap();
        assert!(blobs.open(digest, 7).unwrap().is_none());
        assert!(!blobs.path(digest).exists());
    }
}
