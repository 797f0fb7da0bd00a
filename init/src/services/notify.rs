//! What a service tells PID 1 of itself: the messages of sd_notify(3), and the socket they come to.
//!
//! A message counts for the service whose cgroup its sender is in; the kernel says who that is, not the message.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};

/// Where services find the socket.
pub const PATH: &str = "/run/lepton/notify";
/// Longest message in bytes; longer ones are dropped.
const MAX_MESSAGE: usize = 4096;
/// Longest status text that is kept, in characters.
const MAX_STATUS: usize = 200;

/// The parts of one message that mean something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notice {
    /// `READY=1`
    pub is_ready: bool,
    /// `WATCHDOG=1`
    pub is_alive: bool,
    /// `STOPPING=1`
    pub is_stopping: bool,
    /// `STATUS=`, on one line.
    pub status: Option<String>,
    /// `MAINPID=`
    pub main_pid: Option<u32>,
    /// `WATCHDOG_USEC=`
    pub watchdog_time: Option<Duration>,
    /// `ERRNO=`
    pub errno: Option<i32>,
}

impl Notice {
    /// Reads `NAME=VALUE` lines; what is not known or not good is left out.
    pub fn parse(bytes: &[u8]) -> Self {
        let mut notice = Self::default();
        let text = String::from_utf8_lossy(bytes);
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "READY" => notice.is_ready |= value == "1",
                "WATCHDOG" => notice.is_alive |= value == "1",
                "STOPPING" => notice.is_stopping |= value == "1",
                "STATUS" => {
                    let plain = |c: char| if c.is_control() { ' ' } else { c };
                    notice.status = Some(value.chars().take(MAX_STATUS).map(plain).collect());
                }
                "MAINPID" => notice.main_pid = value.parse().ok().filter(|pid| *pid > 1),
                "WATCHDOG_USEC" => {
                    // Less than a millisecond, or more than a day, is a mistake.
                    let time = value.parse().ok().filter(|time| (1_000..=86_400_000_000).contains(time));
                    notice.watchdog_time = time.map(Duration::from_micros);
                }
                "ERRNO" => notice.errno = value.parse().ok(),
                _ => {}
            }
        }
        notice
    }
}

/// The socket that messages come to.
#[derive(Debug)]
pub struct NotifySocket(UnixDatagram);

impl NotifySocket {
    /// Binds the socket at `path`, for every user: who sent a message is asked of the kernel.
    pub fn bind(path: &str) -> io::Result<Self> {
        let socket = UnixDatagram::bind(path)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
        socket.set_nonblocking(true)?;
        sockopt::set_socket_passcred(&socket, true)?;
        Ok(Self(socket))
    }

    /// The next message and the process that sent it; `None` when none waits.
    pub fn receive(&self) -> Option<(u32, Notice)> {
        let mut bytes = [0; MAX_MESSAGE];
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let parts = &mut [IoSliceMut::new(&mut bytes)];
            let message = recvmsg(&self.0, parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC).ok()?;
            let length = message.bytes.min(MAX_MESSAGE);
            let sender = ancillary.drain().find_map(|part| match part {
                RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid),
                _ => None,
            });
            let Some(pid) = sender.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok()) else {
                continue;
            };
            return Some((pid, Notice::parse(&bytes[..length])));
        }
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let notice =
            Notice::parse(b"READY=1\nSTATUS=up and \x1b[31mrunning\nMAINPID=42\nWATCHDOG_USEC=2000000\nX=1");
        assert!(notice.is_ready && !notice.is_alive);
        assert_eq!(notice.status.as_deref(), Some("up and  [31mrunning"));
        assert_eq!((notice.main_pid, notice.watchdog_time), (Some(42), Some(Duration::from_secs(2))));
        for bad in
            [&b""[..], b"READY", b"READY=2", b"MAINPID=1\nWATCHDOG_USEC=0", b"MAINPID=-5", b"\xff\xfe=1"]
        {
            assert_eq!(Notice::parse(bad), Notice::default(), "{bad:?}");
        }
        assert_eq!(
            Notice::parse(&[b"STATUS=".as_slice(), &[b'x'; 4000]].concat()).status.unwrap().len(),
            MAX_STATUS
        );
    }

    #[test]
    fn the_kernel_names_the_sender() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = NotifySocket::bind(path.to_str().unwrap()).unwrap();
        assert_eq!(socket.receive(), None);
        let sender = UnixDatagram::unbound().unwrap();
        sender.send_to(b"READY=1", &path).unwrap();
        let (pid, notice) = socket.receive().unwrap();
        assert_eq!(pid, std::process::id());
        assert!(notice.is_ready);
        assert_eq!(socket.receive(), None);
    }
}
