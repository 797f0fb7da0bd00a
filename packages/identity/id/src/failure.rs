//! Why something could not be done, and the exit code that says so. It must not hide a cause.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use lepton_identity_control::{ClientError, ErrorKind};

/// Refused, or out of reach.
const FAILED: u8 = 1;
/// There is no such identity or bundle.
const NOTHING_THERE: u8 = 3;
/// It did not come in time.
const TOO_LATE: u8 = 4;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The agent refused, or cannot be reached.
    #[error(transparent)]
    Agent(#[from] ClientError),
    /// The agent answered something else.
    #[error("the identity agent answered something else than was asked")]
    OtherAnswer,
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file should have a token and has none.
    #[error("there is no join token in {0}: one line of visible characters")]
    NoToken(PathBuf),
    /// It is not ready in time.
    #[error("the host's identity is not ready after {0} s")]
    TooLate(u64),
    /// The output cannot be written.
    #[error("cannot write the output")]
    Output(#[from] io::Error),
}

impl Failure {
    /// Whether the reader of the output is gone.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The exit code.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Agent(ClientError::Refused { kind: ErrorKind::NotFound, .. }) => NOTHING_THERE,
            Self::Agent(ClientError::Refused { kind: ErrorKind::Timeout, .. }) | Self::TooLate(_) => TOO_LATE,
            _ => FAILED,
        }
    }

    /// The sentence with its causes.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            text.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        let refused =
            |kind| Failure::from(ClientError::Refused { kind, message: "x".to_owned() }).exit_code();
        assert_eq!(refused(ErrorKind::NotFound), 3);
        assert_eq!(refused(ErrorKind::Timeout), 4);
        assert_eq!(refused(ErrorKind::Refused), 1);
        assert_eq!(Failure::TooLate(1).exit_code(), 4);
        let error = Failure::File { action: "read", path: "/a".into(), source: io::Error::other("b") };
        assert_eq!(error.chain(), "cannot read /a: b");
    }
}
