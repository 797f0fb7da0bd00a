//! A boot step: a name for the log and for the failure line, around anything that can fail.

use std::convert::Infallible;
use std::error::Error;
use std::io;

use crate::kmsg::{self, Level};

/// What a step may fail with: an error, and a hint when the operator can do something about it.
pub trait Failure: Error + 'static {
    /// What to try, as one phrase.
    fn hint(&self) -> Option<&'static str> {
        None
    }
}

impl Failure for io::Error {}
impl Failure for Infallible {}

/// A required step that failed.
#[derive(Debug, thiserror::Error)]
#[error("step {step} failed")]
pub struct StepError {
    /// Name of the step.
    pub step: &'static str,
    /// What the operator can do about it.
    pub hint: Option<&'static str>,
    /// Why.
    pub source: Box<dyn Error>,
}

/// Runs one required step; its name is logged first, so that the log shows where a boot hangs.
pub fn run<T, E: Failure>(step: &'static str, action: impl FnOnce() -> Result<T, E>) -> Result<T, StepError> {
    kmsg::log(Level::Debug, step);
    action().map_err(|error| StepError { step, hint: error.hint(), source: Box::new(error) })
}

/// An error and its causes as one line, outermost first.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_keeps_its_name_and_cause() {
        let error = run("read nothing", || std::fs::read("/proc/0")).unwrap_err();
        assert_eq!(error.step, "read nothing");
        assert_eq!(chain(&error), "step read nothing failed: No such file or directory (os error 2)");
    }
}
