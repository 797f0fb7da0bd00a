//! The only file that starts processes.
//!
//! A process starts with an empty environment plus what is given, and an error carries the whole
//! command and the end of what it printed, so that a person can run it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Pid;

use crate::{clock, cpu};

/// Children that `run` and `output` wait for, killed when the program is interrupted; none once that has happened.
static RUNNING: Mutex<Option<BTreeSet<u32>>> = Mutex::new(Some(BTreeSet::new()));

/// Lines of output that an error shows.
const TAIL_LINES: usize = 25;

/// A program to start.
#[derive(Clone, Debug)]
pub struct Process {
    program: PathBuf,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    inherit_env: bool,
    cwd: Option<PathBuf>,
    user: Option<u32>,
    shown: Option<String>,
}

/// A process that could not start, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProcessError {
    /// It could not be started.
    #[error("cannot start {command}")]
    Start {
        /// The command line.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// It ended badly.
    #[error("{command} failed ({status}){tail}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it printed.
        tail: String,
    },
}

/// What a finished process printed on its standard output.
pub type Output = String;

impl Process {
    /// A process with an empty environment.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            inherit_env: false,
            cwd: None,
            user: None,
            shown: None,
        }
    }

    /// Keeps the environment of this process: for `cargo` and `apt`, which people configure by it.
    pub fn inherit_env(mut self) -> Self {
        self.inherit_env = true;
        self
    }

    /// One argument.
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Several arguments.
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// One environment variable.
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// The folder it runs in.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = Some(dir.into());
        self
    }

    /// The user and group (one number for both) it runs as: only root may choose.
    pub fn user(mut self, id: u32) -> Self {
        self.user = Some(id);
        self
    }

    /// How errors name this command, when the real line would say nothing to a person.
    pub fn shown_as(mut self, text: String) -> Self {
        self.shown = Some(text);
        self
    }

    /// Starts it with the given standard streams and gives the running child.
    pub fn spawn(&self, stdin: Stdio, stdout: Stdio, stderr: Stdio) -> Result<Child, ProcessError> {
        self.command()
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .map_err(|source| ProcessError::Start { command: self.shown(), source })
    }

    /// Replaces this program; returns only on failure.
    pub fn exec(&self) -> io::Error {
        use std::os::unix::process::CommandExt;
        self.command().exec()
    }

    /// Runs it on the caller's terminal.
    pub fn run_attached(&self) -> Result<ExitStatus, ProcessError> {
        let mut child = self.spawn(Stdio::inherit(), Stdio::inherit(), Stdio::inherit())?;
        child.wait().map_err(|source| ProcessError::Start { command: self.shown(), source })
    }

    /// Runs it, hands every line it prints to `line`, and fails when it fails.
    pub fn run(&self, mut line: impl FnMut(&str)) -> Result<(), ProcessError> {
        let mut child = self.spawn(Stdio::null(), Stdio::piped(), Stdio::piped())?;
        let _running = Running::new(&child);
        let (sender, lines) = mpsc::channel::<String>();
        let streams: [Option<Box<dyn io::Read + Send>>; 2] = [
            child.stdout.take().map(|stream| Box::new(stream) as Box<dyn io::Read + Send>),
            child.stderr.take().map(|stream| Box::new(stream) as Box<dyn io::Read + Send>),
        ];
        let mut tail = std::collections::VecDeque::with_capacity(TAIL_LINES);
        std::thread::scope(|scope| {
            for stream in streams.into_iter().flatten() {
                let sender = sender.clone();
                scope.spawn(move || forward_lines(stream, &sender));
            }
            drop(sender);
            for text in lines {
                line(&text);
                if tail.len() == TAIL_LINES {
                    tail.pop_front();
                }
                tail.push_back(text);
            }
        });
        cpu::count(&child);
        let status = child.wait().map_err(|source| ProcessError::Start { command: self.shown(), source })?;
        if status.success() {
            return Ok(());
        }
        let tail = tail.iter().map(|text| format!("\n    {text}")).collect();
        Err(ProcessError::Failed { command: self.shown(), status, tail })
    }

    /// Runs it and gives what it printed on standard output.
    pub fn output(&self) -> Result<Output, ProcessError> {
        let child = self.spawn(Stdio::null(), Stdio::piped(), Stdio::piped())?;
        let _running = Running::new(&child);
        let output = child
            .wait_with_output()
            .map_err(|source| ProcessError::Start { command: self.shown(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let first = errors.lines().count().saturating_sub(TAIL_LINES);
        let tail = errors.lines().skip(first).map(|text| format!("\n    {text}")).collect();
        Err(ProcessError::Failed { command: self.shown(), status: output.status, tail })
    }

    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that starts processes")]
        let mut command = Command::new(&self.program);
        if !self.inherit_env {
            command.env_clear();
        } else if clock::get().is_some() {
            // What downloads needs the true time, by which servers' certificates are valid.
            command.env_remove("LD_PRELOAD");
        }
        command.args(&self.args).envs(&self.env);
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        if let Some(id) = self.user {
            use std::os::unix::process::CommandExt;
            command.uid(id).gid(id);
        }
        command
    }

    fn shown(&self) -> String {
        if let Some(text) = &self.shown {
            return text.clone();
        }
        let mut text = self.program.display().to_string();
        for arg in &self.args {
            text.push(' ');
            text.push_str(&quote(&arg.to_string_lossy()));
        }
        text
    }
}

/// A child that is in [`RUNNING`] while this lives.
struct Running(u32);

impl Running {
    fn new(child: &Child) -> Self {
        if running(|pids| pids.insert(child.id())).is_none() {
            kill_one(child.id());
        }
        Self(child.id())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        running(|pids| pids.remove(&self.0));
    }
}

fn running<T>(change: impl FnOnce(&mut BTreeSet<u32>) -> T) -> Option<T> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).as_mut().map(change)
}

/// Does something with another file mode creation mask, which children inherit.
pub fn with_umask<T>(mask: u32, action: impl FnOnce() -> T) -> T {
    let old = umask(Mode::from_bits_truncate(mask));
    let result = action();
    umask(old);
    result
}

/// Kills every tool that is being waited for, and every later one as soon as it starts; what a sandbox holds dies
/// with it.
pub fn kill_all() {
    let pids = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take();
    pids.into_iter().flatten().for_each(kill_one);
}

fn kill_one(pid: u32) {
    if let Ok(pid) = i32::try_from(pid) {
        // One that has just ended by itself is no error.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}

/// The first folder of the usual system paths that holds `program`.
pub fn find_system_program(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin", "/usr/lib/apt"]
        .iter()
        .map(|dir| Path::new(dir).join(program))
        .find(|path| path.is_file())
}

fn forward_lines(stream: impl io::Read, sender: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut bytes = Vec::new();
    while reader.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
        if sender.send(text).is_err() {
            return;
        }
        bytes.clear();
    }
}

/// Quotes an argument for a POSIX shell where it needs it.
pub fn quote(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=/.,:+@%".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) {
        return arg.to_owned();
    }
    format!("'{}'", arg.replace('\'', "'\\''"))
}
