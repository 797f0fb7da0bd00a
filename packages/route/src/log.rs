//! What the router prints: events, and one short line for each request, as many as a log in memory can take.

use std::fmt;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Lines that may come at once.
const BURST: f64 = 100.0;
/// Lines a second after that: the service's log holds some minutes of them.
const RATE: f64 = 5.0;

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // Nobody reads: no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Lets some lines through.
#[derive(Debug)]
struct Valve {
    left: f64,
    filled: Option<Instant>,
    held_back: u64,
}

impl Valve {
    const NEW: Self = Self { left: BURST, filled: None, held_back: 0 };

    /// Whether a line may pass, and how many did not since the last one.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        let since = self.filled.replace(now).map_or(0.0, |before| now.duration_since(before).as_secs_f64());
        self.left = (self.left + since * RATE).min(BURST);
        if self.left < 1.0 {
            self.held_back += 1;
            return None;
        }
        self.left -= 1.0;
        Some(std::mem::take(&mut self.held_back))
    }
}

/// The log of requests. Failures have a valve of their own, so that they are not held back with the rest.
#[derive(Debug)]
pub(crate) struct AccessLog {
    requests: Mutex<Valve>,
    failures: Mutex<Valve>,
}

impl AccessLog {
    /// Nothing was logged yet.
    pub(crate) fn new() -> Self {
        Self { requests: Mutex::new(Valve::NEW), failures: Mutex::new(Valve::NEW) }
    }

    /// Prints the line of a request with that status, unless there were too many.
    pub(crate) fn request(&self, status: u16, now: Instant, line: impl FnOnce() -> String) {
        let (valve, what) =
            if status < 500 { (&self.requests, "requests") } else { (&self.failures, "failed requests") };
        let passed = valve.lock().unwrap_or_else(PoisonError::into_inner).pass(now);
        let Some(held_back) = passed else { return };
        if held_back > 0 {
            say(format_args!("{held_back} {what} are not shown"));
        }
        say(format_args!("{}", line()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_burst_then_a_rate() {
        let (mut valve, now) = (Valve::NEW, Instant::now());
        let passed = (0..250).filter(|_| valve.pass(now).is_some()).count();
        assert_eq!(passed, 100);
        assert_eq!(valve.pass(now + Duration::from_millis(100)), None);
        assert_eq!(valve.pass(now + Duration::from_millis(201)), Some(151));
        assert_eq!(valve.pass(now + Duration::from_millis(202)), None);
        assert_eq!(valve.pass(now + Duration::from_secs(3600)), Some(1));
    }
}
