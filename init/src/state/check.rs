//! Repairs the state partition's file system with the image's `e2fsck`.
//!
//! It runs before anything is mounted on `/var` and before any service, so PID 1 may wait for it. What it answers
//! (e2fsck(8), "Exit code") is decided here.

use std::io;
use std::process::{Command, Stdio};

use crate::kmsg::{self, Level};
use crate::shutdown;
use crate::signals::Request;

const PROGRAM: &str = "/usr/bin/e2fsck";

/// Why the file system is not repaired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The image has no checker, or it cannot be started.
    #[error("cannot run {PROGRAM}")]
    Run(#[source] io::Error),
    /// A person must decide.
    #[error("e2fsck left errors (exit code {code}): {said}")]
    Left {
        /// Its exit code; -1 for a signal.
        code: i32,
        /// The end of what it printed.
        said: String,
    },
}

/// What an exit code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Clean,
    Repaired,
    RestartNeeded,
    Failed,
}

/// Repairs `device` as far as that is safe without a person; restarts the host when the checker asks for it.
#[expect(clippy::disallowed_methods, reason = "the checker runs before there is a service manager")]
pub(super) fn repair(device: &str) -> Result<(), CheckError> {
    let output = Command::new(PROGRAM).args(["-p", device]).stdin(Stdio::null()).output();
    let output = output.map_err(CheckError::Run)?;
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    for line in text.lines() {
        kmsg::log(Level::Notice, &format!("e2fsck: {line}"));
    }
    let code = output.status.code().unwrap_or(-1);
    match outcome(code) {
        Outcome::Clean | Outcome::Repaired => Ok(()),
        Outcome::RestartNeeded => {
            kmsg::warn("e2fsck asks for a restart");
            shutdown::finish(Request::Reboot)
        }
        Outcome::Failed => {
            let last: Vec<&str> = text.lines().rev().take(2).collect();
            Err(CheckError::Left { code, said: last.into_iter().rev().collect::<Vec<_>>().join(" ") })
        }
    }
}

/// The exit code is a sum of bits.
fn outcome(code: i32) -> Outcome {
    match code {
        0 => Outcome::Clean,
        1 => Outcome::Repaired,
        2 | 3 => Outcome::RestartNeeded,
        _ => Outcome::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes() {
        let outcomes = [0, 1, 2, 3, 4, 5, 8, 12, 128, -1].map(outcome);
        assert_eq!(
            outcomes[..4],
            [Outcome::Clean, Outcome::Repaired, Outcome::RestartNeeded, Outcome::RestartNeeded]
        );
        assert!(outcomes[4..].iter().all(|outcome| *outcome == Outcome::Failed));
    }
}
