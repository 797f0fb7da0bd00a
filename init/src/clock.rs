//! The only clock of PID 1: time since the kernel started, which no one can set.
//!
//! Wall-clock time is for services and for what people read in files; PID 1 must not depend on it, because it is wrong
//! until the network is up.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the kernel started, suspended time included (`CLOCK_BOOTTIME`).
pub fn since_boot() -> Duration {
    clock_gettime(ClockId::Boottime).try_into().unwrap_or_default()
}

/// `time` in whole milliseconds.
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the wall clock would have shown at the kernel's start, in milliseconds since 1970, as far as it is right by now.
pub fn epoch_ms() -> u64 {
    let wall: Duration = clock_gettime(ClockId::Realtime).try_into().unwrap_or_default();
    millis(wall.saturating_sub(since_boot()))
}
