//! When an SVID is made anew: at half its life, give or take a little so that not all come at once.

use std::time::Duration;

use lepton_spiffe::UnixSeconds;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

/// A tenth of the time until then.
const JITTER: i64 = 10;
/// An SVID that was made a moment ago is not made again, whatever the wall clock says.
const AT_LEAST: Duration = Duration::from_secs(30);
/// Nor are those with a life of seconds made without end.
const SHORTEST: i64 = 2;

/// When one is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// By the clock that never jumps.
    steady: Instant,
    /// By the wall clock, for hosts that slept or were off.
    wall: UnixSeconds,
    /// When it was made, as far as that is known.
    made: Option<Instant>,
}

impl Due {
    /// Of one that came just now. Its life began now, whatever our clock and the authority's say of it.
    pub(crate) fn of_new(not_before: UnixSeconds, not_after: UnixSeconds) -> Self {
        let life = not_after.saturating_sub(not_before).max(SHORTEST);
        let half = spread(life / 2);
        let now = Instant::now();
        // By the wall it is due later, so that two clocks that differ by a little have no effect.
        let wall = not_before.saturating_add(life / 3 * 2);
        Self { steady: now + crate::clock::seconds(half), wall, made: Some(now) }
    }

    /// Of one that was made at some time before.
    pub(crate) fn of_old(not_before: UnixSeconds, not_after: UnixSeconds, now: UnixSeconds) -> Self {
        let life = not_after.saturating_sub(not_before).max(SHORTEST);
        let left = not_before.saturating_add(spread(life / 2)).saturating_sub(now).clamp(0, life / 2);
        let wall = not_before.saturating_add(life / 3 * 2);
        Self { steady: Instant::now() + crate::clock::seconds(left), wall, made: None }
    }

    /// At once.
    pub(crate) fn now() -> Self {
        Self { steady: Instant::now(), wall: 0, made: None }
    }

    /// Whether it is due.
    pub(crate) fn is_due(&self, now: UnixSeconds) -> bool {
        if Instant::now() >= self.steady {
            return true;
        }
        now >= self.wall && self.made.is_none_or(|made| made.elapsed() >= AT_LEAST)
    }
}

/// A number near to that one, not above it.
fn spread(number: i64) -> i64 {
    let mut random = [0; 4];
    // Without random numbers they come at once, which is no harm but a burst.
    let _ = SystemRandom::new().fill(&mut random);
    let range = (number / JITTER).max(1);
    number - i64::from(u32::from_le_bytes(random)) % range
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock as _;
    use crate::clock::fake::{FakeClock, START};

    #[tokio::test(start_paused = true)]
    async fn at_half_its_life() {
        let clock = FakeClock::new();
        let due = Due::of_new(START - 10, START + 3600);
        tokio::time::advance(Duration::from_secs(1600)).await;
        assert!(!due.is_due(clock.now()));
        tokio::time::advance(Duration::from_secs(206)).await;
        assert!(due.is_due(clock.now()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_wall_clock_has_a_say_but_not_at_once() {
        let clock = FakeClock::new();
        let due = Due::of_new(START, START + 3600);
        clock.jump(86_400);
        assert!(!due.is_due(clock.now()), "it is new");
        tokio::time::advance(AT_LEAST).await;
        assert!(due.is_due(clock.now()), "the host may have slept");
        clock.jump(-2 * 86_400);
        assert!(!due.is_due(clock.now()));
        tokio::time::advance(Duration::from_secs(1800)).await;
        assert!(due.is_due(clock.now()), "a clock that was set back stops nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn old_ones_by_the_wall() {
        let (from, to) = (START, START + 3600);
        assert!(Due::of_old(from, to, START + 1801).is_due(START + 1801));
        assert!(!Due::of_old(from, to, START + 1500).is_due(START + 1500));
        let early = Due::of_old(from, to, START - 100_000);
        assert!(early.steady <= Instant::now() + Duration::from_secs(1800), "no later than if it were new");
    }

    #[test]
    fn not_all_at_once() {
        let all: std::collections::BTreeSet<i64> = (0..200).map(|_| spread(1800)).collect();
        assert!(all.len() > 50 && all.iter().all(|it| (1621..=1800).contains(it)), "{all:?}");
        assert_eq!(spread(1), 1);
        assert_eq!(spread(0), 0);
    }
}
