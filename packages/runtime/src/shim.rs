//! The runtime's side of the shims: starts one per pod, and talks to it. It must not keep what only the shim knows.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use lepton_runtime_shim::connection::{self, Incoming};
use lepton_runtime_shim::pod::{self, Pod};
use lepton_runtime_shim::protocol::{ContainerState, Reply, Request};
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::error::{Context as _, Failure, Result};
use crate::files;

/// How long a shim may take to be there: namespaces are made in milliseconds, a busy host takes longer.
const START: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Starts the shim of a pod, and waits until it listens.
pub(crate) async fn start(program: &Path, folder: &Path, pod: &Pod) -> Result<()> {
    files::write_json(&folder.join(pod::FILE), pod).or_cannot("write what the shim is told")?;
    let log_path = folder.join("shim.log");
    let log = std::fs::File::create(&log_path).or_cannot(format!("make {}", log_path.display()))?;
    let mut command = tokio::process::Command::new(program);
    command.arg("serve").arg(folder).env_clear().current_dir("/").process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().or_cannot(format!("start {}", program.display()))?;
    let socket = folder.join(pod::SOCKET);
    let begin = Instant::now();
    loop {
        if socket.exists() {
            return Ok(());
        }
        if let Some(status) = child.try_wait().or_cannot("wait for the shim")? {
            let said = std::fs::read_to_string(&log_path).unwrap_or_default();
            return Err(Failure::internal(format!("the shim ended with {status}: {}", said.trim())));
        }
        if begin.elapsed() > START {
            let _ = child.start_kill();
            return Err(Failure::internal(format!("the shim was not there after {} s", START.as_secs())));
        }
        tokio::time::sleep(LOOK).await;
    }
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
