//! The clock of the world, and that of the kernel. Nothing else asks them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lepton_spiffe::UnixSeconds;

/// Starts of the kernel that differ by no more are one.
const SAME_MS: u64 = 10;

/// Since 1970.
pub(crate) fn now() -> Duration {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire, and log lines are dated, by this clock"
    )]
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Seconds since 1970.
pub(crate) fn seconds() -> UnixSeconds {
    UnixSeconds::try_from(now().as_secs()).unwrap_or(UnixSeconds::MAX)
}

/// Milliseconds since 1970.
pub(crate) fn millis() -> i64 {
    i64::try_from(now().as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the kernel's start, with the time that the machine slept.
pub(crate) fn uptime_ms() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1000 + nanoseconds.unwrap_or(0) / 1_000_000
}

/// The kernel's start by the clock as it is now, in milliseconds since 1970.
pub(crate) fn boot_ms() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(i64::MIN);
    let start = settled(LAST.load(Ordering::Relaxed), start_ms());
    LAST.store(start, Ordering::Relaxed);
    start
}

fn start_ms() -> i64 {
    millis().saturating_sub(i64::try_from(uptime_ms()).unwrap_or(i64::MAX))
}

/// The two clocks are read one after the other, to milliseconds: what differs by a few is the same start, or lines of one log
/// would not come in the order of their times.
fn settled(last: i64, start: i64) -> i64 {
    if last.abs_diff(start) <= SAME_MS { last } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_the_same_until_the_clock_is_set() {
        assert_eq!(settled(i64::MIN, 7), 7);
        assert_eq!((settled(1000, 999), settled(1000, 1010)), (1000, 1000));
        assert_eq!((settled(1000, 1011), settled(1000, 0)), (1011, 0));
        let first = boot_ms();
        assert!((0..10_000).all(|_| boot_ms() == first));
    }
}
