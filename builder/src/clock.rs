//! Another clock for a whole build, so that `repro` can show that no artifact depends on the time: libfaketime is
//! loaded before every tool. An ordinary build has none of this, and nothing here reads the clock to build anything.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use crate::sandbox::Sandbox;

/// Where the library lies inside a sandbox.
const INSIDE: &str = "/run/libfaketime.so.1";

static CLOCK: OnceLock<Clock> = OnceLock::new();

/// A clock that is ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds ahead of the machine's.
    pub ahead: u64,
    /// libfaketime's library for the tools.
    pub library: PathBuf,
}

/// A text that is no clock.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no clock: SECONDS:LIBRARY")]
pub struct BadClock(String);

impl FromStr for Clock {
    type Err = BadClock;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once(':').and_then(|(ahead, path)| Some((ahead.parse().ok()?, path)));
        let (ahead, library) = parts.ok_or_else(|| BadClock(text.to_owned()))?;
        Ok(Self { ahead, library: PathBuf::from(library) })
    }
}

impl Clock {
    /// As [`FromStr`] reads it.
    pub fn to_text(&self) -> String {
        format!("{}:{}", self.ahead, self.library.display())
    }

    /// The environment of a process with this clock, when the library lies at `library`.
    pub fn env(&self, library: &str) -> [(&'static str, String); 5] {
        [
            ("LD_PRELOAD", library.to_owned()),
            ("FAKETIME", format!("+{}s", self.ahead)),
            // Times of files stay true: make compares them with each other only.
            ("NO_FAKE_STAT", "1".to_owned()),
            // Waiting is measured with this one.
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
            // Processes need not agree with each other, and a shared segment would outlive them.
            ("FAKETIME_DISABLE_SHM", "1".to_owned()),
        ]
    }

    /// Gives the tool this clock.
    pub(crate) fn apply(&self, mut sandbox: Sandbox) -> Sandbox {
        for (key, value) in self.env(INSIDE) {
            sandbox = sandbox.env(key, value);
        }
        sandbox.read_only(&self.library, INSIDE)
    }
}

/// Gives every later tool this clock. Once for a program.
pub fn set(clock: Clock) {
    // A second one would be a mistake of ours without harm: the first stays.
    let _ = CLOCK.set(clock);
}

/// The clock that was set.
pub fn get() -> Option<&'static Clock> {
    CLOCK.get()
}

/// What this program takes for the present: seconds since 1970.
pub fn now() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the one place; it shows whether a clock was moved")]
    let now = SystemTime::now();
    now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since: Duration| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_round_trips() {
        let clock = Clock { ahead: 7, library: PathBuf::from("/a:b/c") };
        assert_eq!(clock.to_text().parse::<Clock>().unwrap(), clock);
        for bad in ["", "7", "x:/a", "-1:/a"] {
            assert!(bad.parse::<Clock>().is_err(), "{bad}");
        }
    }
}
