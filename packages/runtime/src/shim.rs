//! The runtime's side of the shims: starts one per pod, and talks to it. It must not keep what only the shim knows.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lepton_runtime_shim::connection::{self, Incoming};
use lepton_runtime_shim::pod::{self, Pod};
use lepton_runtime_shim::protocol::{ContainerState, Reply, Request};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Signal, WaitId, WaitIdOptions, pidfd_send_signal, waitid};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt as _, Interest};
use tokio::net::UnixStream;

use crate::error::{Context as _, Failure, Result};
use crate::{exec, files, sys};

/// How long a shim may take to be there: namespaces are made in milliseconds, a busy host takes longer.
const START: Duration = Duration::from_secs(30);
/// Starts the shim of a pod in a cgroup, and waits until it listens.
pub(crate) async fn start(program: &Path, folder: &Path, pod: &Pod, cgroup: &Path) -> Result<()> {
    files::write_json(&folder.join(pod::FILE), pod).or_cannot("write what the shim is told")?;
    let log_path = folder.join("shim.log");
    let log = File::create(&log_path).or_cannot(format!("make {}", log_path.display()))?;
    let cannot = || format!("start {}", program.display());
    std::fs::metadata(program).or_cannot(cannot())?;
    let nothing = File::open("/dev/null").or_cannot(cannot())?;
    let (listens, tell) = pipe_with(PipeFlags::CLOEXEC).or_cannot(cannot())?;
    let mut listens = exec::receiver(listens).or_cannot(cannot())?;
    let cgroup = File::open(cgroup).or_cannot(cannot())?;
    let words = [program.as_os_str(), OsStr::new("serve"), folder.as_os_str()];
    let words: Vec<CString> = words
        .into_iter()
        .map(|word| CString::new(word.as_bytes()))
        .collect::<std::result::Result<_, _>>()
        .or_cannot(cannot())?;
    let process = sys::start(&words, cgroup.as_fd(), [nothing.as_fd(), tell.as_fd(), log.as_fd()])
        .or_cannot(cannot())?;
    drop(tell);
    #[expect(
        deprecated,
        reason = "an owned descriptor stays the same one, which is all that `register_with_interest` asks for"
    )]
    let process = AsyncFd::with_interest(process, Interest::READABLE);
    let process = process.or_cannot("watch the shim")?;
    match tokio::time::timeout(START, listens.read_u8()).await {
        Ok(Ok(_)) => {
            // Only to reap it: that it is gone is noticed by its socket.
            tokio::spawn(end_of(process));
            Ok(())
        }
        Ok(Err(_)) => {
            let status = end_of(process).await;
            let status = status.map_or_else(String::new, |status| format!(" with status {status}"));
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            Err(Failure::internal(format!("the shim ended{status}: {}", said.trim())))
        }
        Err(_) => {
            let _ = pidfd_send_signal(process.get_ref(), Signal::KILL);
            tokio::spawn(end_of(process));
            Err(Failure::internal(format!("the shim was not there after {} s", START.as_secs())))
        }
    }
}

/// Waits for the end of a process; its exit status.
async fn end_of(process: AsyncFd<OwnedFd>) -> Option<i32> {
    process.readable().await.ok()?.retain_ready();
    let end = waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
    end.ok()??.exit_status()
}

/// The shim of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Shim {
    socket: PathBuf,
}

/// A conversation that goes on.
#[derive(Debug)]
pub(crate) struct Conversation {
    socket: UnixStream,
    incoming: Incoming,
}

impl Shim {
    /// The one that keeps the pod of a folder.
    pub(crate) fn of(folder: &Path) -> Self {
        Self { socket: folder.join(pod::SOCKET) }
    }

    async fn connect(&self) -> std::io::Result<UnixStream> {
        let (_folder, name) = connection::short_name(&self.socket)?;
        UnixStream::connect(name).await
    }

    /// Asks for something, with descriptors.
    pub(crate) async fn open(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Conversation> {
        let socket = self.connect().await.or_cannot("reach the shim")?;
        connection::send(socket.as_fd(), request, descriptors).or_cannot("tell the shim")?;
        Ok(Conversation { socket, incoming: Incoming::default() })
    }

    /// Asks for something that has one answer.
    pub(crate) async fn call(&self, request: &Request) -> Result<Reply> {
        self.open(request, &[]).await?.reply().await
    }

    /// All containers.
    pub(crate) async fn containers(&self) -> Result<Vec<ContainerState>> {
        match self.call(&Request::State).await? {
            Reply::Containers { containers } => Ok(containers),
            other => Err(Failure::internal(format!("the shim answered {other:?}"))),
        }
    }

    /// Ends it; one that is gone is fine.
    pub(crate) async fn end(&self) -> Result<()> {
        match self.connect().await {
            Ok(socket) => {
                connection::send(socket.as_fd(), &Request::End, &[]).or_cannot("tell the shim")?;
                Conversation { socket, incoming: Incoming::default() }.reply().await.map(drop)
            }
            Err(_) => Ok(()),
        }
    }
}

impl Conversation {
    /// The next message; `None` when the shim is gone.
    pub(crate) async fn next(&mut self) -> Result<Option<Reply>> {
        loop {
            if let Some(reply) = self.incoming.take().or_cannot("understand the shim")? {
                return Ok(Some(reply));
            }
            self.socket.readable().await.or_cannot("hear from the shim")?;
            let incoming = &mut self.incoming;
            let socket = &self.socket;
            match socket.try_io(Interest::READABLE, || incoming.fill(socket.as_fd())) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).or_cannot("hear from the shim"),
            }
        }
    }

    /// The next message, which must come and must not be a refusal.
    pub(crate) async fn reply(&mut self) -> Result<Reply> {
        match self.next().await? {
            Some(Reply::Failed { message }) => Err(Failure::internal(message)),
            Some(reply) => Ok(reply),
            None => Err(Failure::internal("the shim ended")),
        }
    }

    /// The descriptor that came along.
    pub(crate) fn descriptor(&mut self) -> Option<OwnedFd> {
        self.incoming.descriptors().pop_front()
    }
}
