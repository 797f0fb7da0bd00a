//! The clock of the world, and that of the kernel. Nothing else asks them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lepton_spiffe::UnixSeconds;

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
    millis().saturating_sub(i64::try_from(uptime_ms()).unwrap_or(i64::MAX))
}
