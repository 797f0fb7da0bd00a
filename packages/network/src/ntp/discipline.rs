//! How the clock follows: one step at first, steering afterwards. Pure.
//!
//! Steering is a change of frequency of at most 500 parts per million. It corrects the offset until the next poll,
//! and learns the drift of the clock. When no poll follows, only the learned drift stays.

use std::time::Duration;

use crate::time::Instant;

/// The first offset is stepped when it is larger, in nanoseconds; steering it would take longer than 16 minutes.
pub const STEP: i128 = 500_000_000;
/// An offset after the first that is larger is not believed: a host that is so wrong needs a person.
pub const PANIC: i128 = 1_000_000_000_000;
/// What the kernel takes at most, in parts per million.
const LARGEST_PPM: f64 = 500.0;
/// Crystals drift less; what seems more is a disturbance.
const LARGEST_DRIFT_PPM: f64 = 250.0;
/// Part of an offset that is taken for drift.
const DRIFT_PART: f64 = 0.25;
/// Offsets are corrected over at least this time.
const SHORTEST: Duration = Duration::from_secs(16);
/// Bounds of the time between polls (RFC 5905: 2^6 and 2^10).
pub const POLL_MIN: Duration = Duration::from_secs(64);
/// The longest.
pub const POLL_MAX: Duration = Duration::from_secs(1024);
/// Polls become rarer while offsets stay below this, in nanoseconds, and more frequent above five times as much.
const QUIET: i128 = 10_000_000;
/// So many quiet polls before they become rarer.
const QUIET_POLLS: u32 = 3;

/// Whole nanoseconds; what is too large for them is the largest.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a cast of a float saturates, and fractions do not matter"
)]
pub(super) fn whole(nanos: f64) -> i128 {
    nanos as i128
}

/// What to do with the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Correction {
    /// Add so many nanoseconds at once.
    Step(i128),
    /// Run faster by so many millionths.
    Frequency(f64),
    /// Nothing: the offset is not believed.
    Panic(i128),
}

/// The state of the clock's correction.
#[derive(Clone, Debug)]
pub struct Discipline {
    is_set: bool,
    drift_ppm: f64,
    poll: Duration,
    quiet: u32,
    last: Option<Instant>,
    /// When the present correction has done its work.
    slew_until: Option<Instant>,
    /// Corrected so far beyond the drift, in nanoseconds, up to `slew_since`; and the rate since then.
    steered: f64,
    slew_ppm: f64,
    slew_since: Instant,
}

impl Default for Discipline {
    fn default() -> Self {
        Self {
            is_set: false,
            drift_ppm: 0.0,
            poll: POLL_MIN,
            quiet: 0,
            last: None,
            slew_until: None,
            steered: 0.0,
            slew_ppm: 0.0,
            slew_since: Instant::ZERO,
        }
    }
}

impl Discipline {
    /// Time between polls.
    pub fn poll(&self) -> Duration {
        self.poll
    }

    /// Whether the time was set once.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// Whether it is time for the next update.
    pub fn is_due(&self, now: Instant) -> bool {
        // Answers of several servers arrive around the time of the poll.
        self.last.is_none_or(|last| now >= last + self.poll * 3 / 4)
    }

    /// Nanoseconds by which steering has corrected the clock until now: offsets measured earlier are smaller by what
    /// was corrected since.
    pub fn steered(&self, now: Instant) -> i128 {
        let nanos = self.steered + self.slew_ppm * now.saturating_sub(self.slew_since).as_secs_f64() * 1e3;
        whole(nanos)
    }

    fn slew(&mut self, parts_per_million: f64, now: Instant) {
        self.steered = self.steered(now) as f64;
        self.slew_ppm = parts_per_million;
        self.slew_since = now;
    }

    /// When `settle` is due.
    pub fn deadline(&self) -> Option<Instant> {
        self.slew_until
    }

    /// Takes an offset that servers agree on.
    pub fn update(&mut self, offset: i128, now: Instant) -> Correction {
        if !self.is_set {
            self.is_set = true;
            if offset.abs() > STEP {
                self.last = None;
                return Correction::Step(offset);
            }
        } else if offset.abs() > PANIC {
            return Correction::Panic(offset);
        }
        self.adapt_poll(offset);
        let seconds = offset as f64 / 1e9;
        // Millionths that would correct the offset within a time.
        let rate = |time: Duration| seconds / time.max(SHORTEST).as_secs_f64() * 1e6;
        if let Some(last) = self.last {
            let learned = rate(now.saturating_sub(last)) * DRIFT_PART;
            // An offset that steering has not yet worked off says nothing of the drift.
            if learned.abs() < LARGEST_PPM * DRIFT_PART / 2.0 {
                self.drift_ppm = (self.drift_ppm + learned).clamp(-LARGEST_DRIFT_PPM, LARGEST_DRIFT_PPM);
            }
        }
        self.last = Some(now);
        let wanted = rate(self.poll);
        let frequency = (self.drift_ppm + wanted).clamp(-LARGEST_PPM, LARGEST_PPM);
        // At the limit it takes longer than one poll: the next one goes on with it.
        self.slew_until = Some(now + self.poll);
        self.slew(frequency - self.drift_ppm, now);
        Correction::Frequency(frequency)
    }

    /// The drift alone, when a correction has done its work.
    pub fn settle(&mut self, now: Instant) -> Option<Correction> {
        self.slew_until.filter(|until| *until <= now)?;
        self.slew_until = None;
        self.slew(0.0, now);
        Some(Correction::Frequency(self.drift_ppm))
    }

    fn adapt_poll(&mut self, offset: i128) {
        if offset.abs() > QUIET * 5 {
            self.poll = (self.poll / 2).max(POLL_MIN);
            self.quiet = 0;
        } else if offset.abs() < QUIET {
            self.quiet += 1;
            if self.quiet >= QUIET_POLLS {
                self.poll = (self.poll * 2).min(POLL_MAX);
                self.quiet = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i128 = 1_000_000_000;

    #[test]
    fn one_step_and_no_second() {
        let mut discipline = Discipline::default();
        assert_eq!(discipline.update(-3600 * SECOND, Duration::ZERO), Correction::Step(-3600 * SECOND));
        let second = discipline.update(20 * SECOND, Duration::from_secs(64));
        assert_eq!(second, Correction::Frequency(LARGEST_PPM));
        let third = discipline.update(2000 * SECOND, Duration::from_secs(128));
        assert_eq!(third, Correction::Panic(2000 * SECOND));
        let mut small = Discipline::default();
        assert!(
            matches!(small.update(SECOND / 4, Duration::ZERO), Correction::Frequency(ppm) if ppm == LARGEST_PPM)
        );
    }

    /// A clock that drifts 40 millionths and begins 0.4 s off ends up right, and stays so without servers.
    #[test]
    fn a_drifting_clock_is_caught() {
        let mut discipline = Discipline::default();
        let (mut offset, mut ppm, mut now) = (0.4 * 1e9, 0.0, Duration::ZERO);
        let drift = 40.0;
        for _ in 0..200 {
            if let Correction::Frequency(value) = discipline.update(whole(offset), now) {
                ppm = value;
            }
            let poll = discipline.poll();
            offset += (drift - ppm) * poll.as_secs_f64() * 1e3;
            now += poll;
        }
        assert!(offset.abs() < 1e6, "{offset} ns");
        assert_eq!(discipline.poll(), POLL_MAX);
        let Some(Correction::Frequency(rest)) = discipline.settle(now) else { panic!("it is due") };
        assert!((rest - drift).abs() < 1.0, "{rest} ppm");
        assert_eq!(discipline.settle(now), None);
        let steered = discipline.steered(now);
        assert_eq!(
            discipline.steered(now + POLL_MAX),
            steered,
            "nothing but the drift is corrected any more"
        );
    }
}
