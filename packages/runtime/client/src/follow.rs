//! Follows a container's log file while it grows and when it is moved aside. It must not wait for a container.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use crate::failure::Failure;
use crate::log::{Printer, Sink};
use crate::position::{Place, Position};
use crate::rotation;

/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// A log that is followed.
#[derive(Debug)]
pub struct Follow<S = Printer> {
    path: PathBuf,
    file: Option<(File, Place)>,
    /// What was read of an entry that is not complete.
    rest: Vec<u8>,
    sink: S,
    position: Option<Position>,
    watch: AsyncFd<OwnedFd>,
}

/// Whether there may be more to read at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// There may be.
    Yes,
    /// Not before something changes.
    No,
}

impl<S: Sink> Follow<S> {
    /// A log by its path, from its beginning.
    pub fn new(path: &Path, sink: S) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::io(format!("follow {}", path.display()), error);
        let open = || {
            let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            // The folder: the file is moved aside, and comes anew.
            let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
            inotify::add_watch(&watch, path.parent().unwrap_or(path), what)?;
            #[expect(
                deprecated,
                reason = "an owned descriptor stays the same one, which is all that `register` asks for"
            )]
            AsyncFd::new(watch)
        };
        let watch = open().map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: None, rest: Vec::new(), sink, position: None, watch })
    }

    /// Goes on where somebody else was, and writes down how far it is.
    pub fn keep_position(&mut self, path: &Path) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io(format!("open {}", path.display()), error);
        let (position, place) = Position::open(path).map_err(failed)?;
        self.position = Some(position);
        // In the file that was read last, which may have been moved aside.
        let aside = rotation::aside(&self.path).map_err(failed)?;
        for candidate in aside.iter().chain([&self.path]) {
            let Ok(file) = File::open(candidate) else { continue };
            if file.metadata().map_err(failed)?.ino() == place.inode {
                self.file = Some((file, place));
                break;
            }
        }
        Ok(())
    }

    /// Goes to a place of the file that has the log's name now.
    pub fn skip(&mut self, offset: u64) -> Result<(), Failure> {
        self.open()?;
        if let Some((_, place)) = &mut self.file {
            place.offset = offset;
        }
        Ok(())
    }

    /// Goes on in a file that somebody has begun to read.
    pub fn resume(&mut self, file: File, offset: u64) -> io::Result<()> {
        let inode = file.metadata()?.ino();
        self.file = Some((file, Place { inode, offset }));
        Ok(())
    }

    /// Passes on what is new.
    pub fn pass_on(&mut self) -> Result<More, Failure> {
        if self.file.is_none() && !self.open()? {
            return Ok(More::No);
        }
        let Some((file, place)) = &mut self.file else { return Ok(More::No) };
        let failed = |error: io::Error| Failure::io(format!("read {}", self.path.display()), error);
        // Before the look at what is left: nothing is written to a file once there is another one.
        let next = next(&self.path, place.inode).map_err(failed)?;
        let mut chunk = vec![0; CHUNK];
        let count = file.read_at(&mut chunk, place.offset + self.rest.len() as u64).map_err(failed)?;
        if count == 0 {
            // Only now: what was moved aside is read to its end first.
            let Some(next) = next else { return Ok(More::No) };
            return Ok(if self.open_file(&next)? { More::Yes } else { More::No });
        }
        self.rest.extend_from_slice(&chunk[..count]);
        let done = self.sink.take(&self.rest).map_err(Failure::output)?;
        self.rest.drain(..done);
        place.offset += done as u64;
        if let Some(position) = &self.position {
            let failed = |error| Failure::io("write down how far the log was passed on", error);
            position.save(*place).map_err(failed)?;
        }
        Ok(More::Yes)
    }

    /// Who takes the entries.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// Waits until there may be something new.
    pub async fn changed(&self) -> Result<(), Failure> {
        let failed = |error: io::Error| Failure::io(format!("follow {}", self.path.display()), error);
        let mut ready = self.watch.readable().await.map_err(failed)?;
        let mut events = [0; 4096];
        // Which events is no matter: everything is looked at anyway.
        while rustix::io::read(&self.watch, &mut events).is_ok_and(|count| count > 0) {}
        ready.clear_ready();
        Ok(())
    }

    /// Opens the file that has the log's name now; false while there is none.
    fn open(&mut self) -> Result<bool, Failure> {
        self.open_file(&self.path.clone())
    }

    fn open_file(&mut self, path: &Path) -> Result<bool, Failure> {
        let failed = |error: io::Error| Failure::io(format!("read {}", path.display()), error);
        match File::open(path) {
            Ok(file) => {
                let inode = file.metadata().map_err(failed)?.ino();
                self.rest.clear();
                self.file = Some((file, Place { inode, offset: 0 }));
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

/// The file that goes on where one of this inode ends; none while the log goes on in that.
fn next(path: &Path, inode: u64) -> io::Result<Option<PathBuf>> {
    match fs::metadata(path) {
        Ok(data) if data.ino() == inode => return Ok(None),
        Ok(_) => {}
        // It was moved aside, and is still written to.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    // Whoever is slow may have missed one.
    let mut aside = rotation::aside(path)?;
    aside.retain(|path| !rotation::is_compressed(path));
    let ours = |path: &PathBuf| fs::metadata(path).is_ok_and(|data| data.ino() == inode);
    let after = aside.iter().position(ours).and_then(|place| aside.get(place + 1));
    Ok(Some(after.map_or(path, PathBuf::as_path).to_owned()))
}
