//! The shim: one loop that waits for the runtime, for children that end, and for input and output.
//!
//! It must not block on anything but that wait, and must not end while a container lives.

mod container;
pub mod init;
mod oci;
mod requests;
mod streams;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ChildStdin;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, WaitOptions, WaitStatus, set_child_subreaper, wait};

use crate::connection::{Incoming, short_name};
use crate::namespaces::{self, NamespaceError};
use crate::pod::{self, Pod};
use crate::protocol::Reply;
use container::Container;
use oci::Run;
use streams::End;

/// Between two tries to remove a cgroup whose processes are dying.
const CGROUP_TRY: Timespec = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };

/// A shim ended early.
#[derive(Debug, thiserror::Error)]
pub enum ShimError {
    /// Its pod is not usable.
    #[error("cannot read the pod of {folder}")]
    Pod {
        /// Its folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The kernel said no.
    #[error("cannot {what}")]
    Setup {
        /// To what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Its namespaces could not be made.
    #[error(transparent)]
    Namespaces(#[from] NamespaceError),
}

/// A connection of the runtime.
#[derive(Debug)]
struct Peer {
    socket: UnixStream,
    incoming: Incoming,
    /// It wants to hear of every end.
    events: bool,
}

/// What a run of the container maker is for.
#[derive(Debug)]
enum Purpose {
    Create(String),
    Exec,
}

/// Everything that a shim knows.
#[derive(Debug)]
struct Shim {
    pod: Pod,
    folder: PathBuf,
    peers: BTreeMap<u64, Peer>,
    next_peer: u64,
    containers: BTreeMap<String, Container>,
    runs: Vec<(Run, u64, Purpose)>,
    /// Programs of `exec`, and who waits for them.
    execs: BTreeMap<i32, u64>,
    /// Children that ended before it was known whose they are.
    ended: BTreeMap<i32, WaitStatus>,
    /// Cgroups that go as soon as they are empty.
    cgroups: Vec<PathBuf>,
    over: bool,
    /// Holds the pod's PID 1 up.
    _init: Option<ChildStdin>,
}

/// What became ready.
enum Ready {
    Listener,
    Children,
    Peer(u64),
    Stream(String, End),
}

/// Tells whoever started this that it listens, and closes standard output, which is used for nothing else.
fn say_ready() {
    let _ = rustix::io::write(rustix::stdio::stdout(), b"\n");
    let _ = rustix::stdio::dup2_stdout(rustix::stdio::stdin());
}

fn setup<T, E: Into<io::Error>>(what: &'static str, result: Result<T, E>) -> Result<T, ShimError> {
    result.map_err(|error| ShimError::Setup { what, source: error.into() })
}

/// Keeps the pod of a folder until it is told to end.
pub fn run(folder: &Path) -> Result<(), ShimError> {
    let unusable = |source| ShimError::Pod { folder: folder.to_owned(), source };
    let text = fs::read(folder.join(pod::FILE)).map_err(unusable)?;
    let pod: Pod = serde_json::from_slice(&text).map_err(|error| unusable(error.into()))?;
    setup("become the parent of orphans", set_child_subreaper(Some(Pid::INIT)))?;
    setup("make the folder of namespaces", fs::create_dir_all(folder.join(pod::NAMESPACES)))?;
    let init = namespaces::make(folder, &pod)?;
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    setup("block signals", signals.thread_block())?;
    let children = SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK);
    let children = setup("open a signalfd", children)?;
    // It appears under its name when it is listened to.
    let new = folder.join("shim.new");
    let _ = fs::remove_file(&new);
    let (_folder, name) = setup("name the socket", short_name(&new))?;
    let listener = setup("listen", UnixListener::bind(name))?;
    setup("listen", listener.set_nonblocking(true))?;
    setup("name the socket", fs::rename(&new, folder.join(pod::SOCKET)))?;
    say_ready();
    let mut shim = Shim {
        pod,
        folder: folder.to_owned(),
        peers: BTreeMap::new(),
        next_peer: 0,
        containers: BTreeMap::new(),
        runs: Vec::new(),
        execs: BTreeMap::new(),
        ended: BTreeMap::new(),
        cgroups: Vec::new(),
        over: false,
        _init: init,
    };
    while !shim.over {
        let ready = shim.wait(&listener, &children)?;
        for (ready, what) in ready {
            match ready {
                Ready::Listener => shim.accept(&listener),
                Ready::Children => while let Ok(Some(_)) = children.read_signal() {},
                Ready::Peer(peer) => shim.hear(peer),
                Ready::Stream(container, end) => {
                    if let Some(container) = shim.containers.get_mut(&container) {
                        container.streams.ready(end, what);
                    }
                }
            }
        }
        shim.reap();
        for container in shim.containers.values_mut() {
            container.streams.sweep();
        }
        shim.cgroups.retain(|cgroup| !container::remove_cgroup(cgroup));
    }
    let _ = fs::remove_file(shim.folder.join(pod::SOCKET));
    Ok(())
}

impl Shim {
    /// Waits until something is ready.
    fn wait(
        &self,
        listener: &UnixListener,
        children: &SignalFd,
    ) -> Result<Vec<(Ready, PollFlags)>, ShimError> {
        let mut what = vec![Ready::Listener, Ready::Children];
        let mut waits = vec![
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(children.as_fd(), PollFlags::IN),
        ];
        for (number, peer) in &self.peers {
            what.push(Ready::Peer(*number));
            waits.push(PollFd::from_borrowed_fd(peer.socket.as_fd(), PollFlags::IN));
        }
        for (id, container) in &self.containers {
            for (descriptor, flags, end) in container.streams.waits() {
                what.push(Ready::Stream(id.clone(), end));
                waits.push(PollFd::from_borrowed_fd(descriptor, flags));
            }
        }
        let timeout = (!self.cgroups.is_empty()).then_some(&CGROUP_TRY);
        setup("wait", rustix::io::retry_on_intr(|| poll(&mut waits, timeout)))?;
        let ready = what.into_iter().zip(waits.iter().map(PollFd::revents));
        Ok(ready.filter(|(_, flags)| !flags.is_empty()).collect())
    }

    fn accept(&mut self, listener: &UnixListener) {
        while let Ok((socket, _)) = listener.accept() {
            if socket.set_nonblocking(true).is_ok() {
                self.peers
                    .insert(self.next_peer, Peer { socket, incoming: Incoming::default(), events: false });
                self.next_peer += 1;
            }
        }
    }

    /// Takes every child that ended.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let raw = pid.as_raw_nonzero().get();
            if let Some(place) = self.runs.iter().position(|(run, _, _)| run.pid == pid) {
                let (run, peer, purpose) = self.runs.remove(place);
                self.made(run, peer, purpose);
            } else if !self.ends(raw, status) && !self.runs.is_empty() {
                self.ended.insert(raw, status);
            }
        }
        if self.runs.is_empty() {
            self.ended.clear();
        }
    }

    /// A process ended; whether it was known.
    fn ends(&mut self, pid: i32, status: WaitStatus) -> bool {
        if let Some(peer) = self.execs.remove(&pid) {
            let exit = crate::protocol::Exit {
                code: container::code(status),
                at_ns: crate::time::now_ns(),
                oom: false,
            };
            self.answer(peer, &Reply::Ended { container: String::new(), exit }, None);
            return true;
        }
        let container = self.containers.values_mut().find(|container| {
            container.lives() && container.pid().is_some_and(|own| own.as_raw_nonzero().get() == pid)
        });
        let Some(container) = container else { return false };
        let exit = container.ended(status);
        self.cgroups.push(container.order.cgroup.clone());
        let reply = Reply::Ended { container: container.order.container.clone(), exit };
        let listeners: Vec<u64> =
            self.peers.iter().filter_map(|(number, peer)| peer.events.then_some(*number)).collect();
        for peer in listeners {
            self.answer(peer, &reply, None);
        }
        true
    }
}
