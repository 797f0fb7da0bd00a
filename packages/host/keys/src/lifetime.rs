//! How long a certificate is good for, as people write it: `90m`, `8h`, `30d`. Pure.

use std::fmt;
use std::str::FromStr;

const UNITS: [(char, i64); 5] = [('w', 7 * DAY), ('d', DAY), ('h', 3600), ('m', 60), ('s', 1)];
const DAY: i64 = 86_400;
/// Clocks differ by so much, so that a shorter one could be over before it is used.
const SHORTEST: i64 = 60;
/// Ten years and their leap days.
const LONGEST: i64 = 3653 * DAY;

/// A span of time in which a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lifetime(i64);

/// Why a text is no lifetime.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LifetimeError {
    /// It has another form.
    #[error("{0:?} is no lifetime: write a number and s, m, h, d or w, as in 8h")]
    Form(String),
    /// It is too short or too long.
    #[error("{0:?} is no good lifetime: a certificate is good for 1 minute to 3653 days")]
    Range(String),
}

impl Lifetime {
    /// A working day: what a certificate of a person has when nobody says otherwise.
    pub const PERSON: Self = Self(8 * 3600);
    /// What authorities have: a host whose authority is over cannot be reached any more.
    pub const AUTHORITY: Self = Self(LONGEST);

    /// The span in seconds.
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, LifetimeError> {
        let form = || LifetimeError::Form(text.to_owned());
        let unit = text.chars().next_back().ok_or_else(form)?;
        let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(form)?;
        let digits = &text[..text.len() - unit.len_utf8()];
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(form());
        }
        let range = || LifetimeError::Range(text.to_owned());
        let seconds =
            digits.parse::<i64>().ok().and_then(|count| count.checked_mul(*size)).ok_or_else(range)?;
        if (SHORTEST..=LONGEST).contains(&seconds) { Ok(Self(seconds)) } else { Err(range()) }
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().find(|(_, size)| self.0 % size == 0);
        let (name, size) = whole.copied().unwrap_or(('s', 1));
        write!(f, "{}{name}", self.0 / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        for (text, seconds, shown) in [
            ("60s", 60, "1m"),
            ("90m", 5400, "90m"),
            ("8h", 28_800, "8h"),
            ("30d", 30 * DAY, "30d"),
            ("2w", 14 * DAY, "2w"),
            ("3653d", LONGEST, "3653d"),
        ] {
            let lifetime: Lifetime = text.parse().unwrap();
            assert_eq!((lifetime.seconds(), lifetime.to_string().as_str()), (seconds, shown), "{text}");
        }
        for bad in ["", "8", "h", "-1h", "+1h", "1.5h", "8 h", "8y", "8hh", "é"] {
            assert!(matches!(bad.parse::<Lifetime>(), Err(LifetimeError::Form(_))), "{bad}");
        }
        for bad in ["0s", "59s", "3654d", "99999999999999999999d", "9223372036854775807w"] {
            assert!(matches!(bad.parse::<Lifetime>(), Err(LifetimeError::Range(_))), "{bad}");
        }
    }
}
