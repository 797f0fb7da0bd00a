//! One container of a shim: its process, its streams, and how it ended. It must not start processes.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::process::{Pid, PidfdFlags, Signal, WaitStatus, pidfd_open, pidfd_send_signal};
use rustix::termios::Winsize;

use super::streams::Streams;
use crate::protocol::{ContainerState, Create, Exit};
use crate::{sys, time};

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) order: Create,
    pub(super) streams: Streams,
    process: Option<(Pid, OwnedFd)>,
    pub(super) started: bool,
    pub(super) exit: Option<Exit>,
}

impl Container {
    pub(super) fn new(order: Create, streams: Streams) -> Self {
        Self { order, streams, process: None, started: false, exit: None }
    }

    /// Its first process is there.
    pub(super) fn created(&mut self, pid: Pid) -> io::Result<()> {
        self.process = Some((pid, pidfd_open(pid, PidfdFlags::empty())?));
        Ok(())
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.process.as_ref().map(|(pid, _)| *pid)
    }

    /// Whether it may have a process still.
    pub(super) fn lives(&self) -> bool {
        self.exit.is_none()
    }

    pub(super) fn signal(&self, number: i32) -> io::Result<()> {
        let (_, process) = self.process.as_ref().ok_or_else(|| io::Error::other("it has no process yet"))?;
        match pidfd_send_signal(process, signal(number)?) {
            // It ended just now.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            result => result.map_err(Into::into),
        }
    }

    /// Kills everything in its cgroup.
    pub(super) fn kill(&self) -> io::Result<()> {
        match fs::write(self.order.cgroup.join("cgroup.kill"), "1") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let terminal = self.streams.input.as_ref().filter(|_| self.streams.tty);
        let terminal = terminal.ok_or_else(|| io::Error::other("it has no terminal"))?;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(terminal.as_fd(), size).map_err(Into::into)
    }

    /// Its first process ended: takes the rest down, reads what is left, and writes it down.
    pub(super) fn ended(&mut self, status: WaitStatus) -> Exit {
        let _ = self.kill();
        let oom = oom_kills(&self.order.cgroup) > 0;
        self.streams.finish();
        let exit = Exit { code: code(status), at_ns: time::now_ns(), oom };
        if let Err(error) = write_atomically(&self.order.exit, &exit) {
            let _ = writeln!(io::stderr(), "cannot write {}: {error}", self.order.exit.display());
        }
        self.exit = Some(exit.clone());
        exit
    }

    pub(super) fn state(&self) -> ContainerState {
        ContainerState {
            container: self.order.container.clone(),
            pid: self.pid().map_or(0, |pid| pid.as_raw_nonzero().get()),
            started: self.started,
            exit: self.exit.clone(),
        }
    }
}

/// A signal by its number, real-time ones too.
pub(super) fn signal(number: i32) -> io::Result<Signal> {
    sys::signal(number).ok_or_else(|| io::Error::other(format!("{number} is no signal")))
}

/// The exit code as shells count: 128 and the signal's number.
pub(super) fn code(status: WaitStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (None, Some(signal)) => 128 + signal,
        (None, None) => 255,
    }
}

/// How many processes of a cgroup the kernel killed because of memory.
fn oom_kills(cgroup: &Path) -> u64 {
    let text = fs::read_to_string(cgroup.join("memory.events")).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn write_atomically(path: &Path, exit: &Exit) -> io::Result<()> {
    let json = serde_json::to_vec(exit).map_err(io::Error::other)?;
    let new = path.with_extension("new");
    fs::write(&new, json)?;
    fs::rename(new, path)
}

/// Removes a cgroup and those below it; false while something is in one of them.
pub(super) fn remove_cgroup(path: &Path) -> bool {
    #[expect(clippy::disallowed_methods, reason = "the order of removal does not show")]
    let below = fs::read_dir(path);
    for entry in below.into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_cgroup(&entry.path());
        }
    }
    match fs::remove_dir(path) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}
