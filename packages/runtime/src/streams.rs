//! What the streaming server asks for: a client connected to a program, to a container, or to a port of a pod.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use lepton_runtime_shim::protocol::Request;
use lepton_runtime_streaming::{
    AttachRequest, Backend, BackendError, ExecRequest, ExitCode, Input, Output, Resizes, Streams,
};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncWriteExt as _, copy};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

use crate::container::{Life, Record};
use crate::error::{Failure, Result, chain};
use crate::exec::receiver;
use crate::runtime::Runtime;
use crate::terminal::Terminal;

/// The runtime, as the streaming server sees it.
#[derive(Debug)]
pub(crate) struct Doors(pub(crate) Arc<Runtime>);

fn said(error: impl std::error::Error) -> BackendError {
    BackendError(chain(&error))
}

/// A pipe whose write end the runtime keeps.
fn to_program() -> io::Result<(OwnedFd, pipe::Sender)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&write, true)?;
    Ok((read, pipe::Sender::from_owned_fd(write)?))
}

/// A pipe whose read end the runtime keeps.
fn from_program() -> io::Result<(OwnedFd, pipe::Receiver)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((write, receiver(read)?))
}

/// Copies what a client sends, until it sends no more.
async fn give(input: Option<Input>, to: Option<pipe::Sender>) {
    if let (Some(mut input), Some(mut to)) = (input, to) {
        let _ = copy(&mut input, &mut to).await;
    }
}

/// Copies what a program writes, and says that it is over.
async fn take(from: Option<pipe::Receiver>, output: Option<Output>) {
    if let (Some(mut from), Some(mut output)) = (from, output) {
        let _ = copy(&mut from, &mut output).await;
        let _ = output.shutdown().await;
    }
}

impl Backend for Doors {
    type Connection = TcpStream;

    async fn exec(
        &self,
        request: ExecRequest,
        streams: Streams,
    ) -> std::result::Result<ExitCode, BackendError> {
        let code = if request.streams.tty {
            self.exec_with_terminal(&request, streams).await
        } else {
            self.exec_with_pipes(&request, streams).await
        };
        let code = code.map_err(said)?;
        Ok(ExitCode(u8::try_from(code).unwrap_or(u8::MAX)))
    }

    async fn attach(
        &self,
        request: AttachRequest,
        streams: Streams,
    ) -> std::result::Result<(), BackendError> {
        self.attach_to(&request, streams).await.map_err(said)
    }

    async fn port_forward(&self, pod: &str, port: u16) -> std::result::Result<TcpStream, BackendError> {
        let sandbox = self.0.sandbox(pod).map_err(said)?;
        if sandbox.record().stopped {
            return Err(BackendError(format!("pod sandbox {pod} is not ready")));
        }
        let namespace = self.0.namespace(&sandbox.id(), "net");
        let path = namespace.exists().then_some(namespace);
        let connect = move || connect_in(path.as_deref(), port);
        // A thread of its own: it changes its namespace and ends.
        let (tell, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || tell.send(connect()));
        let stream =
            told.await.map_err(said)?.map_err(|error| BackendError(format!("port {port}: {error}")))?;
        stream.set_nonblocking(true).map_err(said)?;
        TcpStream::from_std(stream).map_err(said)
    }
}

/// Connects to a port of the loopback of a network namespace, in IPv4 or else in IPv6.
fn connect_in(namespace: Option<&std::path::Path>, port: u16) -> io::Result<std::net::TcpStream> {
    if let Some(path) = namespace {
        let file = File::open(path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    }
    std::net::TcpStream::connect(("127.0.0.1", port))
        .or_else(|first| std::net::TcpStream::connect(("::1", port)).map_err(|_| first))
}

impl Doors {
    async fn exec_with_pipes(&self, request: &ExecRequest, mut streams: Streams) -> Result<i32> {
        let typed = streams.stdin.is_some();
        let pipes = || -> io::Result<_> {
            let (stdin, to) = if typed {
                let (read, write) = to_program()?;
                (read, Some(write))
            } else {
                (File::open("/dev/null")?.into(), None)
            };
            let (stdout, out) = from_program()?;
            let (stderr, err) = from_program()?;
            Ok(([stdin, stdout, stderr], to, out, err))
        };
        let (stdio, to, out, err) = pipes().map_err(Failure::internal)?;
        let mut running = self.0.start_exec(&request.container_id, &request.command, Some(stdio)).await?;
        let input = tokio::spawn(give(streams.stdin.take(), to));
        let mut output = tokio::spawn({
            let (stdout, stderr) = (streams.stdout.take(), streams.stderr.take());
            async move { tokio::join!(take(Some(out), stdout), take(Some(err), stderr)) }
        });
        let code = tokio::select! {
            code = running.ended() => code,
            // Its pipes close with this, which ends most programs; the others are left, as with other runtimes.
            () = streams.client.wait() => {
                input.abort();
                output.abort();
                return Ok(0);
            }
        };
        input.abort();
        let _ = tokio::time::timeout(crate::exec::REST, &mut output).await;
        output.abort();
        code
    }

    async fn exec_with_terminal(&self, request: &ExecRequest, mut streams: Streams) -> Result<i32> {
        let mut running = self.0.start_exec(&request.container_id, &request.command, None).await?;
        let terminal = running.terminal.take().ok_or_else(|| Failure::internal("no terminal came"))?;
        let other = terminal.try_clone().map_err(Failure::internal)?;
        let (mut read, mut write) = (Terminal::new(terminal)?, Terminal::new(other)?);
        let sizes = tokio::spawn(follow(streams.resizes.take(), read.size_setter()?));
        let input = streams.stdin.take();
        let input = tokio::spawn(async move {
            if let Some(mut input) = input {
                let _ = copy(&mut input, &mut write).await;
            }
        });
        let output = streams.stdout.take();
        let mut output = tokio::spawn(async move {
            if let Some(mut output) = output {
                let _ = copy(&mut read, &mut output).await;
                let _ = output.shutdown().await;
            }
        });
        let code = tokio::select! {
            code = running.ended() => code,
            // The terminal hangs up.
            () = streams.client.wait() => Ok(0),
        };
        input.abort();
        let _ = tokio::time::timeout(crate::exec::REST, &mut output).await;
        output.abort();
        sizes.abort();
        code
    }

    async fn attach_to(&self, request: &AttachRequest, mut streams: Streams) -> Result<()> {
        let container = self.0.container(&request.container_id)?;
        match container.life() {
            Life::Running => {}
            Life::Created => tokio::select! {
                () = container.opened() => {}
                () = streams.client.wait() => {
                    container.arrived();
                    return Ok(());
                }
            },
            Life::Exited(..) => {
                let id = &request.container_id;
                return Err(Failure::precondition(format!("container {id} does not run")));
            }
        }
        let record = container.record();
        let wanted = [streams.stdin.is_some(), streams.stdout.is_some(), streams.stderr.is_some()];
        let connected = self.connect(&record, wanted).await;
        container.arrived();
        let Ends { to, out, err } = connected?;
        let input = tokio::spawn(give(streams.stdin.take(), to));
        let (stdout, stderr) = (streams.stdout.take(), streams.stderr.take());
        let output = async move {
            tokio::join!(take(out, stdout), take(err, stderr), container.ended());
        };
        let sizes = tokio::spawn(resize(Arc::clone(&self.0), record, streams.resizes.take()));
        tokio::select! {
            // The shim closes the pipes after the container's end, when everything was taken.
            () = output => {}
            () = streams.client.wait() => {}
        }
        input.abort();
        sizes.abort();
        Ok(())
    }

    /// Lets the shim know of pipes for the streams that a client has.
    async fn connect(&self, record: &Record, [stdin, stdout, stderr]: [bool; 3]) -> Result<Ends> {
        let pipes = || -> io::Result<_> {
            Ok((
                stdin.then(to_program).transpose()?,
                stdout.then(from_program).transpose()?,
                stderr.then(from_program).transpose()?,
            ))
        };
        let (input, out, err) = pipes().map_err(Failure::internal)?;
        let ends = [
            input.as_ref().map(|(end, _)| end.as_fd()),
            out.as_ref().map(|(end, _)| end.as_fd()),
            err.as_ref().map(|(end, _)| end.as_fd()),
        ];
        let ends: Vec<_> = ends.into_iter().flatten().collect();
        let order = Request::Attach { container: record.id.clone(), stdin, stdout, stderr };
        self.0.shim(&record.sandbox).open(&order, &ends).await?.reply().await?;
        Ok(Ends {
            to: input.map(|(_, to)| to),
            out: out.map(|(_, from)| from),
            err: err.map(|(_, from)| from),
        })
    }
}

/// The runtime's ends of the pipes to and from a container.
#[derive(Debug)]
struct Ends {
    to: Option<pipe::Sender>,
    out: Option<pipe::Receiver>,
    err: Option<pipe::Receiver>,
}

/// Makes a container's terminal as large as the client's window.
async fn resize(runtime: Arc<Runtime>, record: Record, resizes: Option<Resizes>) {
    let Some(mut resizes) = resizes else { return };
    while let Some(size) = resizes.next().await {
        let request =
            Request::Resize { container: record.id.clone(), columns: size.width, rows: size.height };
        let _ = runtime.shim(&record.sandbox).call(&request).await;
    }
}

/// Makes a terminal as large as the client's window.
async fn follow(resizes: Option<Resizes>, terminal: OwnedFd) {
    let Some(mut resizes) = resizes else { return };
    while let Some(size) = resizes.next().await {
        let size = Winsize { ws_row: size.height, ws_col: size.width, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(&terminal, size);
    }
}
