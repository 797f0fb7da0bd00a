//! Why something could not be done, and the exit code that says so. It must not hide a cause.

use std::io;

use lepton_runtime_client::failure;

/// Something was refused or failed.
pub(crate) const FAILED: u8 = 1;
/// There is no such pod or container.
pub(crate) const NOTHING_THERE: u8 = 3;

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// The runtime, the connection to it, or this host.
    #[error(transparent)]
    Runtime(#[from] failure::Failure),
    /// No pod has the name.
    #[error("there is no {}pod {word:?}; \"lepton pods\" shows those of this host", if *is_no_service { "service and no " } else { "" })]
    NoPod {
        /// What was given.
        word: String,
        /// Whether services were asked before.
        is_no_service: bool,
    },
    /// Several pods have the name.
    #[error("{word:?} may be each of these pods: {}; give the whole name, or -n NAMESPACE", pods.join(", "))]
    Ambiguous {
        /// What was given.
        word: String,
        /// What it may mean.
        pods: Vec<String>,
    },
    /// The pod has no such container.
    #[error("the pod {pod} has no container {word:?}; it has {}", has.join(", "))]
    NoContainer {
        /// The pod.
        pod: String,
        /// What was given.
        word: String,
        /// Those it has.
        has: Vec<String>,
    },
    /// It is not known which container is meant.
    #[error("the pod {pod} has several containers: name one of {} (-c)", has.join(", "))]
    WhichContainer {
        /// The pod.
        pod: String,
        /// Those it has.
        has: Vec<String>,
    },
    /// The container was not made yet, or is gone.
    #[error("the container {container} of the pod {pod} {state}")]
    Absent {
        /// The pod.
        pod: String,
        /// The container.
        container: String,
        /// How it is.
        state: &'static str,
    },
    /// No container of the pod names the port.
    #[error("no container of the pod {pod} has a port {name:?}; give its number")]
    NoPort {
        /// The pod.
        pod: String,
        /// What was given.
        name: String,
    },
    /// The pod's network is not there.
    #[error("the pod {0} does not run")]
    Ended(String),
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

    /// Whether the reader of the output is gone.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Runtime(error) if error.is_broken_pipe())
    }

    /// The exit code; `own` for what has no better one.
    pub(crate) fn exit_code(&self, own: u8) -> u8 {
        let is_not_found = matches!(self, Self::NoPod { .. } | Self::NoContainer { .. });
        if own == FAILED && is_not_found { NOTHING_THERE } else { own }
    }

    /// The sentence with its causes.
    pub(crate) fn chain(&self) -> String {
        failure::chain(self)
    }
}
