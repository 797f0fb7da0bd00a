//! What a call of CRI answers when it cannot be done: a gRPC code and a sentence. It must not hide a cause.

use std::fmt::Display;

use lepton_runtime_images::{Error as ImageError, ErrorKind};
use tonic::{Code, Status};

/// A call failed.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

/// What calls give.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    fn new(code: Code, message: impl Display) -> Self {
        Self { code, message: message.to_string() }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Display) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Display) -> Self {
        Self::new(Code::NotFound, message)
    }

    /// It is there already.
    pub(crate) fn exists(message: impl Display) -> Self {
        Self::new(Code::AlreadyExists, message)
    }

    /// Not in this state.
    pub(crate) fn precondition(message: impl Display) -> Self {
        Self::new(Code::FailedPrecondition, message)
    }

    /// It took longer than allowed.
    pub(crate) fn deadline(message: impl Display) -> Self {
        Self::new(Code::DeadlineExceeded, message)
    }

    /// This runtime does not do it.
    pub(crate) fn unimplemented(message: impl Display) -> Self {
        Self::new(Code::Unimplemented, message)
    }

    /// The host failed.
    pub(crate) fn internal(message: impl Display) -> Self {
        Self::new(Code::Internal, message)
    }

    /// The same with a word before what it says, by which callers know it.
    pub(crate) fn within(self, word: &str) -> Self {
        Self { message: format!("{word}: {}", self.message), ..self }
    }

    /// Whether there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        Self::new(failure.code, failure.message)
    }
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        let code = match error.kind() {
            ErrorKind::NotFound => Code::NotFound,
            ErrorKind::InvalidArgument => Code::InvalidArgument,
            ErrorKind::Unauthenticated => Code::Unauthenticated,
            ErrorKind::PermissionDenied => Code::PermissionDenied,
            ErrorKind::Unavailable => Code::Unavailable,
            ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
            ErrorKind::ResourceExhausted => Code::ResourceExhausted,
            ErrorKind::FailedPrecondition => Code::FailedPrecondition,
            ErrorKind::DataLoss => Code::DataLoss,
            ErrorKind::Internal => Code::Internal,
        };
        Self::new(code, chain(&error))
    }
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Says what was tried.
pub(crate) trait Context<T> {
    /// An error of the host, with what was tried: `cannot WHAT: CAUSE`.
    fn or_cannot(self, what: impl Display) -> Result<T>;
}

impl<T, E: std::error::Error> Context<T> for std::result::Result<T, E> {
    fn or_cannot(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure::internal(format!("cannot {what}: {}", chain(&error))))
    }
}
