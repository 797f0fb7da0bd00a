//! What the runtime and a shim say to each other over the shim's Unix socket.
//!
//! A message is its length (4 bytes, big endian) and JSON; descriptors travel with its first byte (`SCM_RIGHTS`).
//! A connection carries one request and its reply; `exec` and `events` stay open and bring more.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Longest message, in bytes: a request is a few paths.
pub const LONGEST: usize = 64 * 1024;

/// What the runtime wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// All containers and what became of them.
    State,
    /// Make a container up to the point where its program would start.
    Create(Create),
    /// Let the program of a container start.
    Start {
        /// Its id.
        container: String,
    },
    /// Send a signal to the first process of a container.
    Signal {
        /// Its id.
        container: String,
        /// The signal's number.
        signal: i32,
    },
    /// Kill everything in a container's cgroup.
    Kill {
        /// Its id.
        container: String,
    },
    /// Say how large the terminal of a container is.
    Resize {
        /// Its id.
        container: String,
        /// Width, in characters.
        columns: u16,
        /// Height, in characters.
        rows: u16,
    },
    /// Open the log file again, because it was moved.
    ReopenLog {
        /// Its id.
        container: String,
    },
    /// Run another program in a container; with standard input, output and error as descriptors unless `tty`.
    /// Answered by `Running` (with the terminal as descriptor), and by `Ended` when it is over.
    Exec {
        /// The container's id.
        container: String,
        /// An OCI `process.json`.
        process: PathBuf,
        /// It gets a terminal of its own.
        tty: bool,
    },
    /// Send a signal to a program that `Exec` started.
    SignalExec {
        /// Its process id.
        pid: i32,
        /// The signal's number.
        signal: i32,
    },
    /// Take part in a container's input and output; one descriptor for each that is wanted, in this order.
    Attach {
        /// The container's id.
        container: String,
        /// The first descriptor is read and given to the container.
        stdin: bool,
        /// The next one gets what the container writes.
        stdout: bool,
        /// The next one gets what the container writes as errors.
        stderr: bool,
    },
    /// Forget a container that has ended.
    Remove {
        /// Its id.
        container: String,
    },
    /// Report every container that ends from now on, with `Ended`.
    Events,
    /// End: refused while a container lives.
    End,
}

/// A container to make.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Create {
    /// Its id.
    pub container: String,
    /// The OCI bundle.
    pub bundle: PathBuf,
    /// Its log, in the format of CRI.
    pub log: Option<PathBuf>,
    /// Bytes after which the log is moved aside; without it somebody else does that.
    #[serde(default)]
    pub log_limit: Option<u64>,
    /// It has a standard input.
    pub stdin: bool,
    /// Its input ends with the first attachment that ends.
    pub stdin_once: bool,
    /// It has a terminal.
    pub tty: bool,
    /// The folder of its cgroup.
    pub cgroup: PathBuf,
    /// Where to write down how it ended.
    pub exit: PathBuf,
}

/// What the shim answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
    /// A program runs, or waits for `Start`.
    Running {
        /// Its process id.
        pid: i32,
    },
    /// A program ended.
    Ended {
        /// The container; empty for a program of `Exec`.
        container: String,
        /// How.
        exit: Exit,
    },
    /// All containers.
    Containers {
        /// In the order of their ids.
        containers: Vec<ContainerState>,
    },
}

/// One container of a shim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its id.
    pub container: String,
    /// Its first process.
    pub pid: i32,
    /// Its program was let go.
    pub started: bool,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit code; 128 and the signal's number for a signal.
    pub code: i32,
    /// When, in nanoseconds since 1970.
    pub at_ns: i64,
    /// The kernel killed a process of its cgroup because of memory.
    pub oom: bool,
}
