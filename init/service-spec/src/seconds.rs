//! A span of time as people write it: seconds, with a fraction if they like.

use std::fmt;
use std::time::Duration;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest span that makes sense here: a day. Longer is a typing error.
const MAX_MS: u64 = 86_400_000;

/// A span of time: a number of seconds from 0 to 86400, kept in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(u64);

impl Seconds {
    /// The longest span.
    pub const LONGEST: Self = Self(MAX_MS);

    /// A span of `ms` milliseconds.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms)
    }

    /// The span in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// The span as the standard library has it.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 1000 {
            0 => serializer.serialize_u64(self.0 / 1000),
            _ => serializer.serialize_f64(Duration::from_millis(self.0).as_secs_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number)
    }
}

struct Number;

impl Visitor<'_> for Number {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds from 0 to 86400")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        let ms = seconds.checked_mul(1000).filter(|ms| *ms <= MAX_MS);
        ms.map(Seconds).ok_or_else(|| E::invalid_value(Unexpected::Unsigned(seconds), &self))
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<Seconds, E> {
        let bad = || E::invalid_value(Unexpected::Signed(seconds), &self);
        u64::try_from(seconds).map_err(|_| bad()).and_then(|seconds| self.visit_u64(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
        let span = Duration::try_from_secs_f64(seconds).ok();
        let ms = span.and_then(|span| u64::try_from(span.as_millis()).ok()).filter(|ms| *ms <= MAX_MS);
        ms.map(Seconds).ok_or_else(|| E::invalid_value(Unexpected::Float(seconds), &self))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Seconds {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "A span of time in seconds, with a fraction of three digits at most.",
            "type": "number",
            "minimum": 0,
            "maximum": 86400
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_and_broken_seconds() {
        for (text, ms) in [("0", 0), ("5", 5000), ("0.25", 250), ("86400", MAX_MS)] {
            assert_eq!(serde_json::from_str::<Seconds>(text).unwrap(), Seconds(ms), "{text}");
        }
        for bad in ["-1", "-0.5", "86401", "1e300", "\"5\"", "null"] {
            assert!(serde_json::from_str::<Seconds>(bad).is_err(), "{bad}");
        }
        assert_eq!(serde_json::to_string(&[Seconds(1000), Seconds(50)]).unwrap(), "[1,0.05]");
    }
}
