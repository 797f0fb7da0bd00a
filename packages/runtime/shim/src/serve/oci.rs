//! Starts the program that makes containers, and reads what it left behind: the one place of the shim that starts
//! another program.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::Pid;
use serde::Deserialize;

use crate::connection::{Incoming, short_name};
use crate::pod::Pod;

/// What it says at its end, as JSON in the file of `--result`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The process id of what it made.
    Pid(i32),
    /// Why it made nothing.
    Error(String),
}

/// One run of it.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) pid: Pid,
    result: PathBuf,
    console: Option<(PathBuf, UnixListener)>,
}

/// What to make.
pub(super) enum Task<'a> {
    Create { container: &'a str, bundle: &'a Path },
    Exec { container: &'a str, bundle: &'a Path, process: &'a Path },
}

impl Run {
    /// Starts it; with a terminal when there are no descriptors for input, output and errors.
    pub(super) fn start(pod: &Pod, task: &Task<'_>, stdio: Option<[Stdio; 3]>) -> io::Result<Self> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place of the shim that starts another program"
        )]
        let mut command = Command::new(&pod.oci);
        command.env_clear().arg("--root").arg(&pod.oci_state);
        let base = match task {
            Task::Create { container, bundle } => {
                command.arg("create").arg(container).arg("--bundle").arg(bundle);
                bundle.join("create")
            }
            Task::Exec { container, bundle, process } => {
                command.arg("exec").arg(container).arg("--bundle").arg(bundle).arg("--process").arg(process);
                process.to_path_buf()
            }
        };
        let result = base.with_extension("result");
        command.arg("--result").arg(&result);
        let console = match stdio {
            Some([stdin, stdout, stderr]) => {
                command.stdin(stdin).stdout(stdout).stderr(stderr);
                None
            }
            None => {
                let path = base.with_extension("tty");
                let _ = fs::remove_file(&path);
                let (_folder, name) = short_name(&path)?;
                let listener = UnixListener::bind(name)?;
                listener.set_nonblocking(true)?;
                command.arg("--console-socket").arg(&path);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                Some((path, listener))
            }
        };
        let child = command.spawn().map_err(|error| {
            io::Error::new(error.kind(), format!("cannot start {}: {error}", pod.oci.display()))
        })?;
        // Reaped with everything else.
        Ok(Self { pid: Pid::from_child(&child), result, console })
    }

    /// It ended: what it made, and the terminal.
    pub(super) fn finish(self) -> io::Result<(Pid, Option<OwnedFd>)> {
        let text = fs::read(&self.result);
        let _ = fs::remove_file(&self.result);
        let terminal = self.console.as_ref().map(|(_, listener)| terminal(listener));
        if let Some((path, _)) = &self.console {
            let _ = fs::remove_file(path);
        }
        let text =
            text.map_err(|_| io::Error::other("the program that makes containers ended and said nothing"))?;
        match serde_json::from_slice(&text)? {
            Outcome::Error(error) => Err(io::Error::other(error)),
            Outcome::Pid(pid) => {
                let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("it made process 0"))?;
                Ok((pid, terminal.transpose()?))
            }
        }
    }
}

/// The terminal that the container's init sent; it lies ready when the run is over.
fn terminal(listener: &UnixListener) -> io::Result<OwnedFd> {
    let (socket, _) = listener.accept()?;
    let mut incoming = Incoming::default();
    incoming.fill(&socket)?;
    incoming.descriptors().pop_front().ok_or_else(|| io::Error::other("no terminal came"))
}
