//! The two clocks: the wall's, by which certificates are good or not, and the one that never jumps, by which the agent
//! waits (`tokio::time::Instant`). The only file that reads the first.

use std::time::Duration;

use lepton_spiffe::UnixSeconds;
use tokio::time::Instant;

/// Nobody sets a clock by less.
const JUMP: i64 = 30;

/// What tells the time of day.
pub(crate) trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// Seconds since 1970.
    fn now(&self) -> UnixSeconds;
}

/// The system's.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixSeconds {
        #[expect(clippy::disallowed_methods, reason = "certificates are good or not by the time of day")]
        let now = std::time::SystemTime::now();
        let since = now.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(since).unwrap_or(i64::MAX)
    }
}

/// Notices that the wall clock was set, or that the host slept.
#[derive(Debug)]
pub(crate) struct Watch {
    wall: UnixSeconds,
    steady: Instant,
}

impl Watch {
    /// From now on.
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: Instant::now() }
    }

    /// Seconds that the wall clock has jumped since this was asked last, if it has.
    pub(crate) fn jump(&mut self, clock: &dyn Clock) -> Option<i64> {
        let (wall, steady) = (clock.now(), Instant::now());
        let waited = i64::try_from(steady.duration_since(self.steady).as_secs()).unwrap_or(i64::MAX);
        let jump = wall.saturating_sub(self.wall).saturating_sub(waited);
        *self = Self { wall, steady };
        (jump.abs() >= JUMP).then_some(jump)
    }
}

/// That many seconds; none for those that are over.
pub(crate) fn seconds(count: i64) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
pub(crate) mod fake {
    //! A wall clock that goes with Tokio's, which tests may stop, and that can be set.

    use std::sync::atomic::{AtomicI64, Ordering};

    use super::{Clock, Instant, UnixSeconds};

    /// Where it begins.
    pub(crate) const START: UnixSeconds = 1_800_000_000;

    #[derive(Debug)]
    pub(crate) struct FakeClock {
        set: AtomicI64,
        from: Instant,
    }

    impl FakeClock {
        pub(crate) fn new() -> Self {
            Self { set: AtomicI64::new(START), from: Instant::now() }
        }

        pub(crate) fn jump(&self, by: i64) {
            self.set.fetch_add(by, Ordering::Relaxed);
        }
    }

    impl Clock for FakeClock {
        fn now(&self) -> UnixSeconds {
            let passed = i64::try_from(self.from.elapsed().as_secs()).unwrap();
            self.set.load(Ordering::Relaxed) + passed
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::FakeClock;
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn jumps_are_noticed_and_waits_are_not() {
        let clock = FakeClock::new();
        let mut watch = Watch::new(&clock);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(watch.jump(&clock), None);
        clock.jump(-86_400);
        assert_eq!(watch.jump(&clock), Some(-86_400));
        assert_eq!(watch.jump(&clock), None, "it is told once");
        clock.jump(29);
        assert_eq!(watch.jump(&clock), None);
    }
}
