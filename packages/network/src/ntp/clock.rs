//! The clock that is set, behind a trait: tests have one of their own, and never set the machine's.

use std::io;

use clock_steering::unix::UnixClock;
use clock_steering::{Clock as _, TimeOffset};
use rustix::time::{ClockId, clock_gettime};

use super::packet::Time;

const NANOS: i128 = 1_000_000_000;

/// A clock that can be read, stepped and steered.
pub trait Clock: std::fmt::Debug {
    /// Nanoseconds since 1970.
    fn now(&self) -> Time;
    /// Adds so many nanoseconds at once.
    fn step(&mut self, offset: i128) -> io::Result<()>;
    /// Makes it run faster by so many millionths.
    fn set_frequency(&mut self, parts_per_million: f64) -> io::Result<()>;
}

/// The clock of the machine (`CLOCK_REALTIME`).
#[derive(Debug, Default)]
pub struct SystemClock {
    is_ours: bool,
}

impl Clock for SystemClock {
    fn now(&self) -> Time {
        let now = clock_gettime(ClockId::Realtime);
        i128::from(now.tv_sec) * NANOS + i128::from(now.tv_nsec)
    }

    fn step(&mut self, offset: i128) -> io::Result<()> {
        let seconds = i64::try_from(offset.div_euclid(NANOS)).map_err(io::Error::other)?;
        let nanos = u32::try_from(offset.rem_euclid(NANOS)).expect("less than a second");
        UnixClock::CLOCK_REALTIME.step_clock(TimeOffset { seconds, nanos }).map(drop).map_err(failed)
    }

    fn set_frequency(&mut self, parts_per_million: f64) -> io::Result<()> {
        let clock = UnixClock::CLOCK_REALTIME;
        if !self.is_ours {
            // The kernel's own loop would steer against this one.
            clock.disable_kernel_ntp_algorithm().map_err(failed)?;
            self.is_ours = true;
        }
        clock.set_frequency(parts_per_million).map(drop).map_err(failed)
    }
}

fn failed(error: clock_steering::unix::Error) -> io::Error {
    io::Error::other(error.to_string())
}
