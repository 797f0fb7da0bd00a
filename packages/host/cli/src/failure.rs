//! Why something could not be done, and the exit code that says so. It must not hide a cause.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use lepton_keys::{FolderError, LifetimeError};
use lepton_spiffe::{SpiffeIdError, TrustDomainError};
use tonic::Code;

use crate::contexts::ContextsError;
use crate::exit;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The command line is wrong.
    #[error("{0}")]
    Usage(String),
    /// The file of contexts.
    #[error(transparent)]
    Contexts(#[from] ContextsError),
    /// Certificates and keys.
    #[error(transparent)]
    Keys(#[from] FolderError),
    /// A lifetime.
    #[error(transparent)]
    Lifetime(#[from] LifetimeError),
    /// A trust domain.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    /// A SPIFFE ID of a context.
    #[error("the context names {text:?} as a host's SPIFFE ID")]
    Id {
        /// What it says.
        text: String,
        /// What is wrong.
        source: SpiffeIdError,
    },
    /// The certificate of this program cannot be used.
    #[error("cannot use the certificate for TLS")]
    Tls(#[source] rustls::Error),
    /// The host does not answer.
    #[error("cannot connect to {to}: {why}")]
    Unreachable {
        /// Where to.
        to: String,
        /// Why not.
        why: String,
    },
    /// The host does not prove that it is one.
    #[error("{0}")]
    Untrusted(String),
    /// The host does not believe this program.
    #[error("the host does not believe this certificate: {0}")]
    Rejected(String),
    /// The host has answered with a refusal.
    #[error("{}", said(.0))]
    Status(tonic::Status),
    /// A file.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What was looked at is not as it should be; the output says what.
    #[error("{0}")]
    Wrong(String),
    /// The host has ended a stream too early.
    #[error("the host has ended the answer before it was complete")]
    Short,
    /// What was there before the host started again is not there yet.
    #[error("{0}")]
    NotYet(String),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Failure {
    /// A mistake with a file, for `map_err`.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }

    /// Whether the reader of the output is gone, which is no failure.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the host says that there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Status(status) if status.code() == Code::NotFound)
    }

    /// Whether the same may do later: the connection is lost, or the host is not what it will be when it has started.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Short | Self::NotYet(_) => true,
            // What was made of a broken connection has its cause; what a host says has none.
            Self::Status(status) => status.code() == Code::Unavailable || status.source().is_some(),
            _ => false,
        }
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::Contexts(_)
            | Self::Lifetime(_)
            | Self::TrustDomain(_)
            | Self::Id { .. } => exit::USAGE,
            Self::Untrusted(_) | Self::Rejected(_) | Self::Tls(_) => exit::DENIED,
            Self::Status(status) => match status.code() {
                Code::NotFound => exit::NOT_FOUND,
                Code::Aborted => exit::CONFLICT,
                Code::PermissionDenied | Code::Unauthenticated => exit::DENIED,
                Code::DeadlineExceeded => exit::DEADLINE,
                Code::Cancelled if is_timeout(status) => exit::DEADLINE,
                _ => exit::REFUSED,
            },
            _ => exit::REFUSED,
        }
    }

    /// The sentence with its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        // What a status was made of is in its message.
        let mut source = if matches!(self, Self::Status(_)) { None } else { self.source() };
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }
}

/// tonic ends a call that takes too long like one that was given up.
fn is_timeout(status: &tonic::Status) -> bool {
    status.message() == "Timeout expired"
}

fn said(status: &tonic::Status) -> String {
    match status.code() {
        Code::Cancelled if is_timeout(status) => "no answer in time; --timeout gives it more".to_owned(),
        Code::DeadlineExceeded => "no answer in time; --timeout gives it more".to_owned(),
        Code::Unimplemented if status.message().is_empty() => "this host is too old for that".to_owned(),
        _ if status.message().is_empty() => status.code().to_string(),
        _ => crate::output::printable(status.message()).into_owned(),
    }
}

impl From<tonic::Status> for Failure {
    fn from(status: tonic::Status) -> Self {
        Self::Status(status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_refusals() {
        for (code, exit) in [
            (Code::NotFound, 3),
            (Code::Aborted, 4),
            (Code::PermissionDenied, 5),
            (Code::Unauthenticated, 5),
            (Code::DeadlineExceeded, 6),
            (Code::FailedPrecondition, 1),
            (Code::InvalidArgument, 1),
            (Code::Unavailable, 1),
            (Code::Cancelled, 1),
        ] {
            assert_eq!(Failure::from(tonic::Status::new(code, "x")).exit_code(), exit, "{code:?}");
        }
        let late = Failure::from(tonic::Status::cancelled("Timeout expired"));
        assert_eq!((late.exit_code(), late.to_string().starts_with("no answer in time")), (6, true));
    }

    #[test]
    fn causes_are_said_and_nothing_controls_the_terminal() {
        let error = Failure::file("read", Path::new("/a"))(io::Error::other("b"));
        assert_eq!(error.chain(), "cannot read /a: b");
        assert_eq!(Failure::from(tonic::Status::internal("a\u{1b}[2Jb")).chain(), "a\\x1b[2Jb");
    }
}
