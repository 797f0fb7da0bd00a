//! Who keeps the host from going down for a while, and whether it goes down.
//!
//! A lock is the write end of a pipe that a client holds: it is released when the last copy of it is closed, also by the
//! client's death. Nobody reads the pipe, so what a client may write to it is its own loss.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::Interest;
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;

/// More than this is a client that leaks them.
const MOST: usize = 64;
/// What is kept of a client's words.
const LONGEST: usize = 200;

/// A program that wants to end its work before the host goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhibitor {
    /// What it calls itself.
    pub who: String,
    /// Why it needs time, in its words.
    pub why: String,
    /// Its process, when the kernel told.
    pub pid: Option<i32>,
}

impl fmt::Display for Inhibitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.who)?;
        self.pid.map_or(Ok(()), |pid| write!(f, " (process {pid})"))?;
        write!(f, ": {:?}", self.why)
    }
}

impl Inhibitor {
    pub(crate) fn new(who: &str, why: &str, pid: Option<i32>) -> Self {
        let cut = |text: &str| text.chars().take(LONGEST).collect();
        Self { who: cut(who), why: cut(why), pid }
    }
}

/// Why a lock is not given.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The host goes down already.
    InProgress,
    /// There are too many.
    TooMany,
    /// The kernel refuses.
    Kernel(std::io::Error),
}

/// What all connections share.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Whether the host goes down.
    pub(crate) is_preparing: bool,
    pub(crate) held: BTreeMap<u64, Inhibitor>,
    next: u64,
}

/// The locks; whoever subscribes hears of every change.
#[derive(Clone, Debug)]
pub(crate) struct Locks(watch::Sender<State>);

impl Locks {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(State::default()))
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }

    /// From now on no lock is given; returns those that are held.
    pub(crate) fn prepare(&self) -> BTreeMap<u64, Inhibitor> {
        let mut held = BTreeMap::new();
        self.0.send_modify(|state| {
            state.is_preparing = true;
            held.clone_from(&state.held);
        });
        held
    }

    /// A lock for a client: the end of the pipe that it gets.
    pub(crate) fn take(&self, inhibitor: Inhibitor) -> Result<OwnedFd, Refused> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|error| Refused::Kernel(error.into()))?;
        let ours = Receiver::from_owned_fd(ours).map_err(Refused::Kernel)?;
        let mut taken = Err(Refused::InProgress);
        self.0.send_if_modified(|state| {
            taken = match (state.is_preparing, state.held.len()) {
                (true, _) => Err(Refused::InProgress),
                (false, MOST..) => Err(Refused::TooMany),
                (false, _) => {
                    state.next += 1;
                    state.held.insert(state.next, inhibitor);
                    Ok(state.next)
                }
            };
            taken.is_ok()
        });
        let number = taken?;
        let locks = self.clone();
        tokio::spawn(async move {
            wait_until_closed(&ours).await;
            locks.0.send_modify(|state| {
                state.held.remove(&number);
            });
        });
        Ok(theirs)
    }
}

/// Waits until nobody holds the other end.
async fn wait_until_closed(pipe: &Receiver) {
    // An error is the end of the runtime, and of all locks.
    while let Ok(ready) = pipe.ready(Interest::READABLE).await {
        if ready.is_read_closed() {
            return;
        }
        // Something was written to it: wait for what comes after that.
        let _ = pipe.try_io(|| Err::<(), _>(ErrorKind::WouldBlock.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kubelet() -> Inhibitor {
        Inhibitor::new("kubelet", "pods", Some(7))
    }

    #[tokio::test]
    async fn a_lock_ends_with_its_last_copy() {
        let locks = Locks::new();
        let mut state = locks.subscribe();
        let lock = locks.take(kubelet()).unwrap();
        let copy = lock.try_clone().unwrap();
        rustix::io::write(&lock, b"noise").unwrap();
        drop(lock);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert_eq!(state.borrow().held.values().collect::<Vec<_>>(), [&kubelet()]);
        drop(copy);
        state.wait_for(|state| state.held.is_empty()).await.unwrap();
    }

    #[tokio::test]
    async fn no_more_than_there_may_be_and_none_once_the_host_goes_down() {
        let locks = Locks::new();
        let mut held: Vec<_> = (0..MOST).map(|_| locks.take(kubelet()).unwrap()).collect();
        assert!(matches!(locks.take(kubelet()), Err(Refused::TooMany)));
        held.truncate(1);
        locks.subscribe().wait_for(|state| state.held.len() == 1).await.unwrap();
        assert_eq!(locks.prepare().len(), 1);
        assert!(matches!(locks.take(kubelet()), Err(Refused::InProgress)));
    }

    #[test]
    fn words_of_a_client_are_cut_and_shown_as_one_line() {
        let long = Inhibitor::new(&"x".repeat(5000), "a\nb", None);
        assert_eq!(long.who.len(), LONGEST);
        assert_eq!(Inhibitor::new("k", "a\nb", Some(3)).to_string(), "\"k\" (process 3): \"a\\nb\"");
    }
}
