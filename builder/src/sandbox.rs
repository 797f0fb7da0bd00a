//! Runs a tool of a tool tree where it can see only what it was given.
//!
//! New mount, PID, IPC, UTS and (unless asked otherwise) empty network namespaces; as an ordinary
//! user inside a user namespace, as root without one. The tree is read-only and lies at fixed paths,
//! so what a tool writes cannot depend on the machine. The namespaces are entered by this same
//! program started again (`enter.rs`), because a program with threads cannot enter a user namespace.

mod enter;

pub(crate) use enter::RESOLV_CONF;
pub use enter::enter;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::clock;
use crate::process::{Process, ProcessError};

/// First argument with which this program starts itself inside the sandbox.
pub const ENTER: &str = "sandbox-enter";

/// This machine or user may not make a sandbox.
#[derive(Debug, thiserror::Error)]
#[error("builds run in a sandbox, which cannot be made here")]
pub struct NoSandbox {
    source: ProcessError,
}

/// A program of this machine, with its files and its environment, on the network of the sandbox whose process has this
/// number; it dies with its parent.
pub fn beside(pid: u32, program: impl Into<OsString>) -> Process {
    let program = program.into();
    let shown = format!("[network of {pid}] {}", program.to_string_lossy());
    Process::new("/proc/self/exe").args([ENTER, enter::BESIDE, &pid.to_string()]).arg(program).shown_as(shown)
}

/// Fails at once, before any work, where a sandbox cannot be made.
pub fn check() -> Result<(), NoSandbox> {
    let probe =
        Process::new("/proc/self/exe").arg(ENTER).arg(enter::PROBE).shown_as("the sandbox".to_owned());
    probe.run(|_| {}).map_err(|source| NoSandbox { source })
}

/// What a sandboxed tool can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// An empty network namespace of its own.
    None,
    /// The machine's network: only to run a finished image with port forwards.
    Host,
    /// That of the sandbox whose process has this number, which must live: several programs on one network of their own.
    Of(u32),
}

/// Whether a tool may write to what is bound into its sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Access {
    ReadOnly,
    Writable,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bind {
    from: PathBuf,
    to: PathBuf,
    access: Access,
}

/// A tool, its arguments, and what it may see.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sandbox {
    tree: PathBuf,
    binds: Vec<Bind>,
    devices: Vec<PathBuf>,
    network: Network,
    env: BTreeMap<String, String>,
    cwd: PathBuf,
    program: String,
    args: Vec<String>,
}

impl Sandbox {
    /// `program` of the unpacked tool tree at `tree`.
    pub fn new(tree: &Path, program: &str) -> Self {
        let env = [("PATH", "/usr/bin:/usr/sbin"), ("HOME", "/tmp"), ("LC_ALL", "C.UTF-8"), ("TZ", "UTC")];
        let sandbox = Self {
            tree: tree.to_owned(),
            binds: Vec::new(),
            devices: Vec::new(),
            network: Network::None,
            env: env.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            cwd: PathBuf::from("/"),
            program: program.to_owned(),
            args: Vec::new(),
        };
        match clock::get() {
            Some(clock) => clock.apply(sandbox),
            None => sandbox,
        }
    }

    /// Shows the file or folder `from` at `to`, read-only.
    pub fn read_only(self, from: &Path, to: &str) -> Self {
        self.bind(from, to, Access::ReadOnly)
    }

    /// Shows the file or folder `from` at `to`, writable.
    pub fn writable(self, from: &Path, to: &str) -> Self {
        self.bind(from, to, Access::Writable)
    }

    /// Shows a device node of the machine (`/dev/net/tun`).
    pub fn device(mut self, path: &str) -> Self {
        self.devices.push(PathBuf::from(path));
        self
    }

    /// Chooses the network; the default is none.
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// One environment variable.
    pub fn env(mut self, key: &str, value: impl Into<String>) -> Self {
        self.env.insert(key.to_owned(), value.into());
        self
    }

    /// The folder the tool runs in.
    pub fn cwd(mut self, dir: &str) -> Self {
        self.cwd = PathBuf::from(dir);
        self
    }

    /// One argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Several arguments.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// The process that enters the sandbox; its exit status is the tool's.
    pub fn process(&self) -> Process {
        let text = serde_json::to_string(self).expect("strings and paths of ours are UTF-8");
        let mut shown = format!("[sandbox] {}", self.program);
        for arg in &self.args {
            shown.push(' ');
            shown.push_str(&crate::process::quote(arg));
        }
        Process::new("/proc/self/exe").arg(ENTER).arg(text).shown_as(shown)
    }

    /// Runs the tool; every line it prints goes to `line`.
    pub fn run(&self, line: impl FnMut(&str)) -> Result<(), ProcessError> {
        self.process().run(line)
    }

    fn bind(mut self, from: &Path, to: &str, access: Access) -> Self {
        self.binds.push(Bind { from: from.to_owned(), to: PathBuf::from(to), access });
        self
    }
}
