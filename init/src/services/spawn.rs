//! Starts the main process of a service: this program again as a launcher (`launch/`), which PID 1 never waits for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use lepton_service_spec::ServiceSpec;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};

use super::cgroup::Cgroup;
use super::notify;
use crate::launch::{MAX_ERROR, NAME, Order};

/// This program, wherever its file has gone: the initrd that it came from is freed.
pub(super) const SELF: &str = "/proc/self/exe";

/// A process that was started.
#[derive(Debug)]
pub(super) struct Spawned {
    /// The main process.
    pub(super) pid: u32,
    /// Where the launcher reports; it ends when the service's program runs.
    pub(super) channel: OwnedFd,
    /// What the service prints.
    pub(super) output: File,
}

/// Starts a service in its cgroup.
pub(super) fn spawn(spec: &ServiceSpec, cgroup: &Cgroup) -> io::Result<Spawned> {
    cgroup.make(&spec.limits())?;
    let order = Order { spec: spec.clone(), cgroup: cgroup.path(), notify: Some(notify::PATH.to_owned()) };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (channel, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    // The whole order fits into the socket's buffer, so nobody waits for the launcher to read it.
    send(&channel, &order.to_bytes()?, SendFlags::NOSIGNAL)?;
    let (output, writer) = io::pipe()?;
    let output = File::from(OwnedFd::from(output));
    rustix::io::ioctl_fionbio(&output, true)?;
    #[expect(clippy::disallowed_methods, reason = "the one place where PID 1 starts a process")]
    let mut command = Command::new(SELF);
    command.arg0(NAME).env_clear();
    command.stdin(Stdio::from(theirs)).stdout(Stdio::from(writer.try_clone()?)).stderr(Stdio::from(writer));
    // The handle is dropped: the process is reaped with all others.
    let pid = command.spawn()?.id();
    Ok(Spawned { pid, channel, output })
}

/// What became of the launcher.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Launch {
    /// It is still at work.
    Pending,
    /// It has become the service's program.
    Executed,
    /// It failed and ends.
    Failed(String),
}

/// Looks at the launcher's channel without waiting.
pub(super) fn look(channel: impl AsFd) -> Launch {
    let mut bytes = [0; MAX_ERROR];
    match recv(channel, &mut bytes, RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Launch::Executed,
        Ok((_, length)) => {
            let text = bytes.get(..length).unwrap_or_default();
            Launch::Failed(format!("cannot start: {}", String::from_utf8_lossy(text)))
        }
        Err(Errno::AGAIN | Errno::INTR) => Launch::Pending,
        // Reset: the launcher was killed before it read its order; its end tells the rest.
        Err(_) => Launch::Executed,
    }
}
