//! Who is at the other end of a connection, held by a descriptor of the process so that its number cannot come to mean
//! another one.
//!
//! The kernel notes user, groups and process when the client connects (`SO_PEERCRED`, `SO_PEERGROUPS`), and gives a
//! descriptor of that very process (`SO_PEERPIDFD`, Linux 6.5). On an older kernel the descriptor is opened by number. That
//! leaves one gap, which users narrow: between connecting and being accepted, the number may pass to a process of the same
//! user and group.
//!
//! The program is noted when the connection is accepted, because the kernel does not note it when the client connects: a
//! process that runs another one later is refused. Whoever may start a program of its own user as it likes may do so before
//! the connection is accepted, too; paths and digests tell programs of different users and services apart, no more.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::net::UnixStream;

use crate::host::{FileId, Host};
use crate::sys;

/// A process that connected.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) pid: u32,
    /// When it connected.
    pub(crate) uid: u32,
    /// When it connected.
    pub(crate) gid: u32,
    /// Supplementary ones, when it connected.
    pub(crate) groups: Vec<u32>,
    process: AsyncFd<OwnedFd>,
    /// The program that it ran when the connection was accepted.
    program: FileId,
    start: u64,
}

/// Why a process is not, or no longer, trusted to be who it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    /// The kernel does not say who it is.
    #[error("cannot learn who connected")]
    Credentials(#[source] io::Error),
    /// It has no number here.
    #[error("the process that connected cannot be seen from here")]
    Unseen,
    /// It has ended.
    #[error("the process that connected has ended")]
    Gone,
    /// It ended before it could be looked at, or is hidden.
    #[error("cannot look at the process that connected: {0} (hint: this needs CAP_SYS_PTRACE)")]
    Hidden(io::Error),
    /// It is another user by now.
    #[error("the process became another user after it connected")]
    OtherUser,
    /// It runs another program by now.
    #[error("the process runs another program than the one that connected")]
    OtherProgram,
}

impl Peer {
    /// The process that connected, alive and looked at.
    pub(crate) fn of(stream: &UnixStream, host: &Host) -> Result<Self, PeerError> {
        Self::with(stream, host, descriptor)
    }

    fn with(
        stream: &UnixStream,
        host: &Host,
        descriptor: fn(&UnixStream, u32) -> Result<OwnedFd, PeerError>,
    ) -> Result<Self, PeerError> {
        let credentials = stream.peer_cred().map_err(PeerError::Credentials)?;
        let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0);
        let pid = pid.ok_or(PeerError::Unseen)?;
        let process = descriptor(stream, pid)?;
        let groups = sys::peer_groups(stream.as_fd()).map_err(PeerError::Credentials)?;
        let process = sys::readable(process).map_err(PeerError::Credentials)?;
        let (start, program) =
            host.start(pid).and_then(|start| Ok((start, host.program(pid)?))).map_err(|error| {
                if is_alive(process.get_ref()) { PeerError::Hidden(error) } else { PeerError::Gone }
            })?;
        let peer =
            Self { pid, uid: credentials.uid(), gid: credentials.gid(), groups, process, program, start };
        peer.check(host)?;
        Ok(peer)
    }

    /// Whether it is still who it was when it connected. What was read of it before is its own when this holds after.
    pub(crate) fn check(&self, host: &Host) -> Result<(), PeerError> {
        let found = host.user(self.pid).and_then(|user| {
            let start = host.start(self.pid)?;
            Ok((user, start, host.program(self.pid)?))
        });
        if !is_alive(self.process.get_ref()) {
            return Err(PeerError::Gone);
        }
        let (user, start, program) = found.map_err(PeerError::Hidden)?;
        match () {
            // Its number is its own as long as it lives; without a descriptor of the socket's this tells more.
            () if start != self.start => Err(PeerError::Gone),
            () if user != (self.uid, self.gid) => Err(PeerError::OtherUser),
            () if program != self.program => Err(PeerError::OtherProgram),
            () => Ok(()),
        }
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&self) {
        // The descriptor is readable for good when the process has ended; a failure means no less.
        let _ = self.process.readable().await;
    }
}

/// A descriptor of the process that connected: from the socket, or by number where the kernel is older.
fn descriptor(stream: &UnixStream, pid: u32) -> Result<OwnedFd, PeerError> {
    match sys::peer_pidfd(stream.as_fd()) {
        Ok(process) => Ok(process),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => by_number(stream, pid),
        // The kernel makes no descriptor of a process that was reaped.
        Err(_) => Err(PeerError::Gone),
    }
}

fn by_number(_: &UnixStream, pid: u32) -> Result<OwnedFd, PeerError> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(PeerError::Unseen)?;
    pidfd_open(pid, PidfdFlags::empty()).map_err(|_| PeerError::Gone)
}

fn is_alive(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)), Ok(0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn this_process_connects() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let host = Host::of_process(std::process::id());
        for how in [descriptor, by_number] {
            let peer = Peer::with(&stream, &host, how).unwrap();
            assert_eq!(peer.pid, std::process::id());
            assert_eq!((peer.uid, peer.gid), host.user(peer.pid).unwrap());
            peer.check(&host).unwrap();
            let ended = timeout(Duration::from_millis(20), peer.ended()).await;
            assert!(ended.is_err(), "it lives");
        }
    }

    #[tokio::test]
    async fn a_dead_process_is_gone() {
        let (stream, _other) = UnixStream::pair().unwrap();
        #[expect(clippy::disallowed_methods, reason = "a process that ends")]
        let mut child = std::process::Command::new("/proc/self/exe").arg("--list").spawn().unwrap();
        let process = by_number(&stream, child.id()).unwrap();
        child.wait().unwrap();
        assert!(!is_alive(&process));
        assert!(matches!(by_number(&stream, child.id()), Err(PeerError::Gone)));
    }

    #[tokio::test]
    async fn what_changes_is_noticed() {
        let (stream, _other) = UnixStream::pair().unwrap();
        let host = Host::of_process(std::process::id());
        let mut peer = Peer::of(&stream, &host).unwrap();
        peer.start += 1;
        assert!(matches!(peer.check(&host), Err(PeerError::Gone)));
        peer.start -= 1;
        peer.uid += 1;
        assert!(matches!(peer.check(&host), Err(PeerError::OtherUser)));
        peer.uid -= 1;
        peer.program = host.namespace(peer.pid, crate::host::Namespace::Pid).unwrap();
        assert!(matches!(peer.check(&host), Err(PeerError::OtherProgram)));
    }
}
