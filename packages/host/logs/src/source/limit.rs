//! How many lines a source may have sent in a second, and when the stream says that lines were left out. Pure.

use std::time::{Duration, Instant};

/// Between two notices about one source.
const BETWEEN: Duration = Duration::from_secs(1);

/// The limit of one source: as much as a second's lines may come at once.
#[derive(Debug)]
pub struct Limit {
    per_second: u32,
    credit: f64,
    earned: Instant,
    said: Option<Instant>,
}

impl Limit {
    /// So many lines a second; all, when that is 0.
    pub fn new(per_second: u32, now: Instant) -> Self {
        Self { per_second, credit: per_second.into(), earned: now, said: None }
    }

    /// Time has passed.
    pub fn earn(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.earned).as_secs_f64();
        self.credit = (self.credit + seconds * f64::from(self.per_second)).min(self.per_second.into());
        self.earned = now;
    }

    /// Whether a line may pass.
    pub fn pass(&mut self) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let may = self.credit >= 1.0;
        if may {
            self.credit -= 1.0;
        }
        may
    }

    /// Whether it is time to say that lines were left out.
    pub fn may_say(&mut self, now: Instant) -> bool {
        let may = self.said.is_none_or(|said| now.saturating_duration_since(said) >= BETWEEN);
        if may {
            self.said = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_at_once_then_the_rate() {
        let now = Instant::now();
        let mut limit = Limit::new(10, now);
        let passed = |limit: &mut Limit, at| {
            limit.earn(at);
            (0..100).filter(|_| limit.pass()).count()
        };
        assert_eq!(passed(&mut limit, now), 10);
        assert_eq!(passed(&mut limit, now + Duration::from_millis(500)), 5);
        assert_eq!(passed(&mut limit, now + Duration::from_secs(100)), 10);
        let mut none = Limit::new(0, now);
        assert_eq!(passed(&mut none, now), 100);
        assert!(limit.may_say(now) && !limit.may_say(now) && limit.may_say(now + BETWEEN));
    }
}
