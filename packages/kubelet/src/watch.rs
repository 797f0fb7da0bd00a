//! Says when something in people's folder of manifests has changed.

use std::io;
use std::path::Path;
use std::thread;

use rustix::fs::inotify;
use rustix::io::Errno;
use tokio::sync::mpsc;

/// A folder that is watched; the folder itself must stay.
#[derive(Debug)]
pub(crate) struct Watch {
    changes: mpsc::Receiver<()>,
}

impl Watch {
    /// Begins to watch.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let events = inotify::init(inotify::CreateFlags::CLOEXEC)?;
        // Not every write: a file counts when its writer is done with it.
        let kinds = inotify::WatchFlags::CLOSE_WRITE
            | inotify::WatchFlags::MOVED_FROM
            | inotify::WatchFlags::MOVED_TO
            | inotify::WatchFlags::DELETE
            | inotify::WatchFlags::ATTRIB;
        inotify::add_watch(&events, folder, kinds)?;
        // One that waits to be heard stands for all that follow.
        let (said, changes) = mpsc::channel(1);
        // It ends with the program.
        thread::Builder::new().name("watch".to_owned()).spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                match rustix::io::read(&events, &mut buffer) {
                    Ok(len) if len > 0 => match said.try_send(()) {
                        Err(mpsc::error::TrySendError::Closed(())) => return,
                        Ok(()) | Err(mpsc::error::TrySendError::Full(())) => {}
                    },
                    Err(Errno::INTR) => {}
                    Ok(_) | Err(_) => return,
                }
            }
        })?;
        Ok(Self { changes })
    }

    /// Waits for a change; several at once are one.
    pub(crate) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            // Nobody looks any more; whoever asks has a clock, too.
            std::future::pending().await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_new_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watch = Watch::new(folder.path()).unwrap();
            let soon = Duration::from_millis(50);
            assert!(tokio::time::timeout(soon, watch.changed()).await.is_err(), "nothing has happened");
            std::fs::write(folder.path().join("a.yaml"), "x").unwrap();
            watch.changed().await;
            std::fs::remove_file(folder.path().join("a.yaml")).unwrap();
            watch.changed().await;
        });
    }
}
