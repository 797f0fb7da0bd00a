//! Why something could not be done, and the exit code that says so. It must not hide a cause.

use std::io;
use std::path::PathBuf;

use tonic::{Code, Status};

/// Something was refused or failed.
pub(crate) const FAILED: u8 = 1;
/// There is no such container or image.
pub(crate) const NOTHING_THERE: u8 = 3;
/// A program could not be run at all; those that run have their own codes.
pub(crate) const NOT_RUN: u8 = 125;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The runtime does not answer.
    #[error(
        "cannot reach the container runtime at {}: {cause}; see \"lepton services runtime\"",
        socket.display()
    )]
    Unreachable {
        /// Where it should listen.
        socket: PathBuf,
        /// What the connection said.
        cause: String,
    },
    /// The runtime says no.
    #[error("{message}")]
    Refused {
        /// CRI's code.
        code: Code,
        /// What the runtime says.
        message: String,
    },
    /// No container has the name.
    #[error("there is no container {0:?}")]
    NoContainer(String),
    /// No image has the name.
    #[error("there is no image {0:?}")]
    NoImage(String),
    /// An id is too short.
    #[error("{word:?} is the beginning of several ids: {}", ids.join(", "))]
    Ambiguous {
        /// What was given.
        word: String,
        /// What it may mean.
        ids: Vec<String>,
    },
    /// A container of kubelet.
    #[error("{word:?} belongs to the pod {pod}, which was not made by lepton-ctr and is left alone")]
    Foreign {
        /// What was given.
        word: String,
        /// Its pod.
        pod: String,
    },
    /// A container of the machine config.
    #[error("{0} is a service of this host; use \"lepton stop {0}\"")]
    IsService(String),
    /// The name is taken.
    #[error("there is a container {0} already; remove it (lepton ctr rm {0}) or take another name")]
    Taken(String),
    /// It runs.
    #[error("{0} runs; stop it first, or use rm -f")]
    Runs(String),
    /// It does not run.
    #[error("{0} does not run")]
    Ended(String),
    /// The conversation with it broke off.
    #[error(
        "the connection to {0} broke, and it goes on; see \"lepton ctr logs {0}\" and \"lepton ctr stop {0}\""
    )]
    Left(String),
    /// It was removed while it was followed.
    #[error("{0} was removed by somebody else")]
    Removed(String),
    /// The host failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// Nobody reads the output.
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    /// The conversation with a program broke.
    #[error(transparent)]
    WebSocket(#[from] crate::websocket::WebSocketError),
    /// A program could not be run in a container.
    #[error("{0}")]
    Exec(String),
}

impl Failure {
    /// Something of this host failed.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The output could not be written.
    pub(crate) fn output(error: io::Error) -> Self {
        Self::Output(error)
    }

    /// What the runtime, or the connection to it, said.
    pub(crate) fn of_call(socket: &std::path::Path, status: &Status) -> Self {
        match std::error::Error::source(status) {
            // What a server says has no source: this comes from the connection.
            Some(source) => {
                let causes = std::iter::successors(Some(source), |error| error.source());
                let cause = causes.last().map(ToString::to_string).unwrap_or_default();
                Self::Unreachable { socket: socket.to_owned(), cause }
            }
            None => Self::Refused { code: status.code(), message: status.message().to_owned() },
        }
    }

    /// Whether the same may work later: the runtime starts again, or a registry is out of reach.
    pub(crate) fn may_pass(&self) -> bool {
        let code = match self {
            Self::Unreachable { .. } => return true,
            Self::Refused { code, .. } => *code,
            _ => return false,
        };
        matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted)
    }

    /// Whether the runtime knows no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: Code::NotFound, .. } | Self::NoContainer(_) | Self::NoImage(_))
    }

    /// Whether the runtime has such a thing already.
    pub(crate) fn is_taken(&self) -> bool {
        matches!(self, Self::Refused { code: Code::AlreadyExists, .. })
    }

    /// Whether the reader of the output is gone.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code; `own` for what has no better one.
    pub(crate) fn exit_code(&self, own: u8) -> u8 {
        if own == FAILED && self.is_not_found() { NOTHING_THERE } else { own }
    }

    /// The sentence with its causes.
    pub(crate) fn chain(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |error| error.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }
}
