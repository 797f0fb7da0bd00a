//! Programs that are run in containers beside their own: for `ExecSync`, and for clients of the streaming server.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use lepton_cri::v1::ExecSyncResponse;
use lepton_runtime_shim::protocol::{Reply, Request};
use rustix::pipe::{PipeFlags, pipe_with};
use serde_json::Value;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;

use crate::container::Life;
use crate::error::{Context as _, Failure, Result};
use crate::runtime::Runtime;
use crate::shim::{Conversation, Shim};
use crate::{files, id};

/// Most output of `ExecSync`, output and errors together; the rest is read and dropped (CVE-2022-1708). kubelet and crictl
/// take messages of 16 MiB, with what is around the bytes.
const MOST: usize = (16 << 20) - 4096;
/// How long output of a program that ended may still come: what it left behind may hold the pipe for ever.
pub(crate) const REST: Duration = Duration::from_secs(1);
/// SIGKILL
const KILL: i32 = 9;

/// A program that runs in a container.
#[derive(Debug)]
pub(crate) struct Running {
    conversation: Conversation,
    shim: Shim,
    pid: i32,
    /// Its `process.json`.
    file: PathBuf,
    /// Its terminal, if it was asked for.
    pub(crate) terminal: Option<OwnedFd>,
}

impl Runtime {
    /// Starts a program; with the given input, output and errors, or with a terminal.
    pub(crate) async fn start_exec(
        &self,
        container: &str,
        command: &[String],
        stdio: Option<[OwnedFd; 3]>,
    ) -> Result<Running> {
        let container = self.container(container)?;
        let record = container.record();
        if container.life() != Life::Running {
            return Err(Failure::precondition(format!("container {} does not run", record.id)));
        }
        if command.is_empty() {
            return Err(Failure::invalid("no command was given"));
        }
        let bundle = self.settings.container_run(&record.id);
        let config: Value =
            files::read_json(&bundle.join("config.json")).or_cannot("read the container's bundle")?;
        let mut process = config["process"].clone();
        process["args"] = command.into();
        process["terminal"] = stdio.is_none().into();
        let folder = bundle.join("exec");
        std::fs::create_dir_all(&folder).or_cannot(format!("make {}", folder.display()))?;
        let file = folder.join(&id::new()[..16]).with_extension("json");
        files::write_json(&file, &process).or_cannot("write what is to be run")?;
        let shim = self.shim(&record.sandbox);
        let request = Request::Exec { container: record.id, process: file.clone(), tty: stdio.is_none() };
        let descriptors: Vec<_> = stdio.iter().flatten().map(|descriptor| descriptor.as_fd()).collect();
        let started = async {
            let mut conversation = shim.open(&request, &descriptors).await?;
            let reply = conversation.reply().await?;
            Ok((conversation, reply))
        };
        let started = started.await;
        drop(stdio);
        match started {
            Ok((mut conversation, Reply::Running { pid })) => {
                let terminal = conversation.descriptor();
                Ok(Running { conversation, shim, pid, file, terminal })
            }
            Ok((_, other)) => Err(Failure::internal(format!("the shim answered {other:?}"))),
            Err(error) => {
                remove(&file);
                Err(error)
            }
        }
    }

    /// Runs a program and gives what it wrote.
    pub(crate) async fn exec_sync(
        &self,
        container: &str,
        command: &[String],
        timeout: Option<Duration>,
    ) -> Result<ExecSyncResponse> {
        let pipes = || -> io::Result<_> {
            let null = std::fs::File::open("/dev/null")?;
            let (out, write_out) = pipe_with(PipeFlags::CLOEXEC)?;
            let (err, write_err) = pipe_with(PipeFlags::CLOEXEC)?;
            let readers = [receiver(out)?, receiver(err)?];
            Ok(([null.into(), write_out, write_err], readers))
        };
        let (stdio, [mut out, mut err]) = pipes().or_cannot("make pipes")?;
        let mut running = self.start_exec(container, command, Some(stdio)).await?;
        let mut stdout = Vec::new();
        let mut stderr = Vec::new();
        let result = {
            let output = async {
                tokio::join!(drain(&mut out, &mut stdout), drain(&mut err, &mut stderr));
            };
            tokio::pin!(output);
            let ended = async {
                tokio::select! {
                    code = running.ended() => {
                        let code = code?;
                        let _ = tokio::time::timeout(REST, &mut output).await;
                        Ok(code)
                    }
                    // All is written; what is left is the end.
                    () = &mut output => running.ended().await,
                }
            };
            match timeout {
                Some(timeout) => tokio::time::timeout(timeout, ended).await.ok(),
                None => Some(ended.await),
            }
        };
        match result {
            Some(code) => {
                stderr.truncate(MOST - stdout.len());
                Ok(ExecSyncResponse { stdout, stderr, exit_code: code? })
            }
            None => {
                running.signal(KILL).await?;
                running.ended().await?;
                let seconds = timeout.unwrap_or_default().as_secs();
                Err(Failure::deadline(format!(
                    "timeout: the command did not end within {seconds} s and was killed"
                )))
            }
        }
    }
}

impl Running {
    /// Waits for its end; gives its exit code.
    pub(crate) async fn ended(&mut self) -> Result<i32> {
        match self.conversation.reply().await? {
            Reply::Ended { exit, .. } => Ok(exit.code),
            other => Err(Failure::internal(format!("the shim answered {other:?}"))),
        }
    }

    /// Sends it a signal.
    pub(crate) async fn signal(&self, signal: i32) -> Result<()> {
        self.shim.call(&Request::SignalExec { pid: self.pid, signal }).await.map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        remove(&self.file);
    }
}

/// Removes a `process.json` and what the container maker wrote beside it.
fn remove(file: &std::path::Path) {
    for extension in ["json", "lowered"] {
        let _ = std::fs::remove_file(file.with_extension(extension));
    }
}

/// The read end of a pipe, for tokio.
pub(crate) fn receiver(pipe: OwnedFd) -> io::Result<pipe::Receiver> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    pipe::Receiver::from_owned_fd(pipe)
}

/// Reads to the end, and keeps as much as is allowed.
async fn drain(from: &mut pipe::Receiver, into: &mut Vec<u8>) {
    let mut chunk = [0; 8192];
    while let Ok(count @ 1..) = from.read(&mut chunk).await {
        let room = MOST - into.len();
        into.extend_from_slice(&chunk[..count.min(room)]);
    }
}
