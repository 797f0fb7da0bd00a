//! Why something could not be done. It must not hide a cause.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use tonic::{Code, Status};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
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
    pub fn io(what: impl Into<String>, source: io::Error) -> Self {
        Self::Io { what: what.into(), source }
    }

    /// The output could not be written.
    pub fn output(error: io::Error) -> Self {
        Self::Output(error)
    }

    /// What the runtime, or the connection to it, said.
    pub fn of_call(socket: &Path, status: &Status) -> Self {
        match Error::source(status) {
            // What a server says has no source: this comes from the connection.
            Some(source) => {
                let causes = std::iter::successors(Some(source), |error| (**error).source());
                let cause = causes.last().map(ToString::to_string).unwrap_or_default();
                Self::Unreachable { socket: socket.to_owned(), cause }
            }
            None => Self::Refused { code: status.code(), message: status.message().to_owned() },
        }
    }

    /// Whether the same may work later: the runtime starts again, or a registry is out of reach.
    pub fn may_pass(&self) -> bool {
        let code = match self {
            Self::Unreachable { .. } => return true,
            Self::Refused { code, .. } => *code,
            _ => return false,
        };
        matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Aborted)
    }

    /// Whether the runtime knows no such thing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: Code::NotFound, .. })
    }

    /// Whether the runtime has such a thing already.
    pub fn is_taken(&self) -> bool {
        matches!(self, Self::Refused { code: Code::AlreadyExists, .. })
    }

    /// Whether the reader of the output is gone.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// The sentence of an error with its causes.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| (**error).source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
