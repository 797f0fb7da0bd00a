//! Why something could not be done, and the exit code that says so. It must not hide a cause.

use std::io;

use lepton_runtime_client::failure;
pub(crate) use lepton_runtime_client::failure::chain;
pub(crate) use lepton_runtime_client::status::NOT_RUN;

/// Something was refused or failed.
pub(crate) const FAILED: u8 = 1;
/// There is no such container or image.
pub(crate) const NOTHING_THERE: u8 = 3;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The runtime, the connection to it, or this host.
    #[error(transparent)]
    Runtime(#[from] failure::Failure),
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
}

impl Failure {
    /// Something of this host failed.
    pub(crate) fn io(what: impl Into<String>, source: io::Error) -> Self {
        failure::Failure::io(what, source).into()
    }

    /// The output could not be written.
    pub(crate) fn output(error: io::Error) -> Self {
        failure::Failure::output(error).into()
    }

    fn of_runtime(&self) -> Option<&failure::Failure> {
        if let Self::Runtime(failure) = self { Some(failure) } else { None }
    }

    /// Whether the same may work later: the runtime starts again, or a registry is out of reach.
    pub(crate) fn may_pass(&self) -> bool {
        self.of_runtime().is_some_and(failure::Failure::may_pass)
    }

    /// Whether there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::NoContainer(_) | Self::NoImage(_))
            || self.of_runtime().is_some_and(failure::Failure::is_not_found)
    }

    /// Whether the reader of the output is gone.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.of_runtime().is_some_and(failure::Failure::is_broken_pipe)
    }

    /// The exit code; `own` for what has no better one.
    pub(crate) fn exit_code(&self, own: u8) -> u8 {
        if own == FAILED && self.is_not_found() { NOTHING_THERE } else { own }
    }

    /// The sentence with its causes.
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}
