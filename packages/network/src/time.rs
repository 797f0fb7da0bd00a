//! Time since the machine started, as a plain duration, so that tests can invent it. The wall clock is `ntp::clock`.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Time since the machine started, with the time it was asleep: leases go on while a machine sleeps.
pub type Instant = Duration;

/// The time now.
pub fn now() -> Instant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).expect("time since the start is not negative");
    Duration::new(seconds, u32::try_from(now.tv_nsec).expect("less than a second"))
}
