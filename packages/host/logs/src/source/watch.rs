//! Watches for logs and for files of logs that are moved aside, on a thread of its own: it opens what appears at once, however
//! busy the reader is, so that nothing is removed before it could be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use super::discover::{self, Places};
use super::log::Log;
use crate::say::say;

/// Between two looks at everything, whether or not something happened: watches have limits.
const LOOK: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };
/// Events of a busy log come as one.
const PAUSE: Duration = Duration::from_millis(10);

/// Wakes the reader.
#[derive(Debug, Default)]
pub struct Wake {
    is_due: Mutex<bool>,
    due: Condvar,
}

impl Wake {
    /// There may be something to read.
    pub fn wake(&self) {
        *self.is_due.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.due.notify_one();
    }

    /// Waits until there may be.
    pub fn wait(&self, at_most: Duration) {
        let guard = self.is_due.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.due.wait_timeout_while(guard, at_most, |is_due| !*is_due);
        let (mut is_due, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *is_due = false;
    }
}

/// What watches.
#[derive(Debug)]
pub struct Watch {
    places: Places,
    inotify: OwnedFd,
    watched: BTreeSet<PathBuf>,
    logs: BTreeMap<PathBuf, Arc<Log>>,
    found: Sender<Arc<Log>>,
    wake: Arc<Wake>,
}

impl Watch {
    /// Looks for the first time; new logs go to `found`.
    pub fn new(places: Places, found: Sender<Arc<Log>>, wake: Arc<Wake>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut watch =
            Self { places, inotify, watched: BTreeSet::new(), logs: BTreeMap::new(), found, wake };
        watch.look();
        Ok(watch)
    }

    /// Watches from now on, on a thread.
    pub fn start(mut self) -> io::Result<()> {
        let watching = thread::Builder::new().name("watch".to_owned()).spawn(move || {
            loop {
                self.turn();
                thread::sleep(PAUSE);
            }
        });
        watching.map(drop)
    }

    /// Waits for something, and looks.
    fn turn(&mut self) {
        let mut fds = [PollFd::new(&self.inotify, PollFlags::IN)];
        let ready = poll(&mut fds, Some(&LOOK)).unwrap_or_default();
        let has_moved = ready == 0 || self.events();
        if has_moved {
            for log in self.logs.values() {
                complain(log.refresh(), log);
            }
            self.look();
        }
        self.wake.wake();
    }

    /// Takes all events; whether files came, went or were renamed.
    fn events(&self) -> bool {
        let mut has_moved = false;
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = inotify::Reader::new(self.inotify.as_fd(), &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => has_moved |= event.events() != ReadFlags::MODIFY,
                Err(Errno::INTR) => {}
                Err(_) => return has_moved,
            }
        }
    }

    fn look(&mut self) {
        let mut look = discover::look(&self.places);
        // What came into a new folder before it was watched is seen by one more look.
        while self.watch(look.folders) {
            look = discover::look(&self.places);
        }
        for found in look.logs {
            if self.logs.contains_key(&found.path) {
                continue;
            }
            let path = found.path.clone();
            match Log::open(found) {
                Ok(log) => {
                    let log = Arc::new(log);
                    if self.found.send(Arc::clone(&log)).is_ok() {
                        self.logs.insert(path, log);
                    }
                }
                Err(error) => say(format_args!("cannot read {}: {error}", path.display())),
            }
        }
        self.logs.retain(|_, log| !log.is_gone());
    }
}

impl Watch {
    /// Watches these folders, and no others; whether one of them is new.
    fn watch(&mut self, folders: Vec<PathBuf>) -> bool {
        let folders: BTreeSet<PathBuf> = folders.into_iter().collect();
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVED_TO;
        let mut is_new = false;
        for folder in &folders {
            // Also those that were watched: a folder that was removed and made again is another one. Without a watch, as
            // their number is limited, a folder is looked at every second.
            let watched = inotify::add_watch(&self.inotify, folder, what | WatchFlags::ONLYDIR);
            is_new |= watched.is_ok() && !self.watched.contains(folder);
        }
        self.watched = folders;
        is_new
    }
}

fn complain(result: io::Result<()>, log: &Log) {
    if let Err(error) = result {
        say(format_args!("cannot read {}: {error}", log.found.path.display()));
    }
}
