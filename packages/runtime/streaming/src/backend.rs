//! What the server needs from the runtime, and the ends of a client's streams that the runtime is given.
//!
//! No protocol is known here: a backend cannot tell a WebSocket client from a SPDY one.

use std::future::Future;

use serde::Deserialize;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

/// Bytes from the client; the end of file is the client's half-close, or its loss.
pub type Input = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to the client; dropping or shutting it down is the end of file there, and writing fails when it is gone.
pub type Output = Box<dyn AsyncWrite + Send + Unpin>;

/// The runtime's side of the three calls.
pub trait Backend: Send + Sync + 'static {
    /// One connection into a pod: a TCP connection made in its network namespace.
    type Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Runs a command in a container until it ends, and until all its output is written to `streams`.
    ///
    /// The future is never dropped before it is ready: `streams.client` says when nobody listens any more, and what to
    /// do about it (kill the process, leave it) is the runtime's decision.
    fn exec(
        &self,
        request: ExecRequest,
        streams: Streams,
    ) -> impl Future<Output = Result<ExitCode, BackendError>> + Send;

    /// Connects the client to a container's main process until that ends or the client leaves.
    fn attach(
        &self,
        request: AttachRequest,
        streams: Streams,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Connects to a port of a pod; the server copies, and shuts the connection's two directions down on their own.
    fn port_forward(
        &self,
        pod_sandbox_id: &str,
        port: u16,
    ) -> impl Future<Output = Result<Self::Connection, BackendError>> + Send;
}

/// Why a call failed, as the client will read it.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0}")]
pub struct BackendError(pub String);

/// Which streams a client asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StreamSet {
    /// Bytes to the process.
    pub stdin: bool,
    /// Its output; with a terminal, all of it.
    pub stdout: bool,
    /// Its error output; never with a terminal.
    pub stderr: bool,
    /// Whether the process has a terminal.
    pub tty: bool,
}

/// A command in a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExecRequest {
    /// The container.
    pub container_id: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// What is connected.
    pub streams: StreamSet,
}

/// A connection to the main process of a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AttachRequest {
    /// The container.
    pub container_id: String,
    /// What is connected.
    pub streams: StreamSet,
}

/// Connections to ports of a pod.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortForwardRequest {
    /// The pod.
    pub pod_sandbox_id: String,
    /// The ports for clients whose protocol cannot name them (WebSocket channels); SPDY names one per connection.
    pub ports: Vec<u16>,
}

/// How a process ended: its exit status, or 128 and the number of the signal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExitCode(pub u8);

/// Size of a terminal in characters.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct TerminalSize {
    /// Columns.
    #[serde(default)]
    pub width: u16,
    /// Rows.
    #[serde(default)]
    pub height: u16,
}

/// The client's streams; those that were not asked for are `None`.
pub struct Streams {
    /// What the client types or pipes.
    pub stdin: Option<Input>,
    /// Where standard output goes.
    pub stdout: Option<Output>,
    /// Where error output goes.
    pub stderr: Option<Output>,
    /// Sizes of the client's window, when the process has a terminal.
    pub resizes: Option<Resizes>,
    /// When the client is gone.
    pub client: ClientGone,
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("resizes", &self.resizes.is_some())
            .finish_non_exhaustive()
    }
}

/// Sizes of the client's window. Only the newest is kept: a slow reader misses the ones between.
#[derive(Debug)]
pub struct Resizes(watch::Receiver<Option<TerminalSize>>);

/// The client's end of [`Resizes`].
#[derive(Debug)]
pub struct ResizeSender(watch::Sender<Option<TerminalSize>>);

/// A pair of ends for sizes.
pub fn resizes() -> (ResizeSender, Resizes) {
    let (sender, receiver) = watch::channel(None);
    (ResizeSender(sender), Resizes(receiver))
}

impl Resizes {
    /// The next size, or `None` when there will be no more.
    pub async fn next(&mut self) -> Option<TerminalSize> {
        self.0.changed().await.ok()?;
        *self.0.borrow_and_update()
    }
}

impl ResizeSender {
    /// Replaces the size that was not read yet.
    pub fn send(&self, size: TerminalSize) {
        self.0.send_replace(Some(size));
    }
}

/// Says when the client's connection has ended.
#[derive(Clone, Debug)]
pub struct ClientGone(watch::Receiver<bool>);

impl ClientGone {
    /// One for a client that leaves when `true` is sent, or the sender is dropped.
    pub fn new(receiver: watch::Receiver<bool>) -> Self {
        Self(receiver)
    }

    /// Returns when the client is gone; at once when it is already.
    pub async fn wait(&mut self) {
        // An error is a sender that was dropped, with the connection it spoke for.
        let _ = self.0.wait_for(|gone| *gone).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_newest_size_is_kept() {
        let (sender, mut sizes) = resizes();
        sender.send(TerminalSize { width: 80, height: 24 });
        sender.send(TerminalSize { width: 132, height: 50 });
        assert_eq!(sizes.next().await, Some(TerminalSize { width: 132, height: 50 }));
        sender.send(TerminalSize { width: 1, height: 2 });
        drop(sender);
        assert_eq!(sizes.next().await, Some(TerminalSize { width: 1, height: 2 }));
        assert_eq!(sizes.next().await, None);
    }

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        let size: TerminalSize = serde_json::from_str(r#"{"Width":120,"Height":40}"#).unwrap();
        assert_eq!(size, TerminalSize { width: 120, height: 40 });
        assert!(serde_json::from_str::<TerminalSize>(r#"{"Width":70000,"Height":1}"#).is_err());
    }

    #[tokio::test]
    async fn a_dropped_connection_is_a_client_that_left() {
        let (sender, receiver) = watch::channel(false);
        let mut gone = ClientGone::new(receiver);
        drop(sender);
        gone.wait().await;
    }
}
