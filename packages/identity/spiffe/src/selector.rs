//! Selectors: what an attestor found out about a workload or a host.

use std::fmt;
use std::str::FromStr;

/// A property of a workload or a host: `unix:uid:1000` has the kind `unix` and the value `uid:1000`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    kind: String,
    value: String,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no selector: TYPE:VALUE, such as unix:uid:1000")]
pub struct SelectorError(String);

impl Selector {
    /// A selector. The kind has a character at least, and no colon; there is a value.
    pub fn new(kind: &str, value: &str) -> Result<Self, SelectorError> {
        if kind.is_empty() || kind.contains(':') || value.is_empty() {
            return Err(SelectorError(format!("{kind}:{value}").chars().take(200).collect()));
        }
        Ok(Self { kind: kind.to_owned(), value: value.to_owned() })
    }

    /// Which attestor gives it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// What it says.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        Self::new(kind, value).map_err(|_| SelectorError(text.chars().take(200).collect()))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_values() {
        let selector: Selector = "k8s:pod-label:app:web".parse().unwrap();
        assert_eq!((selector.kind(), selector.value()), ("k8s", "pod-label:app:web"));
        assert_eq!(selector.to_string(), "k8s:pod-label:app:web");
        for bad in ["", ":", "unix", "unix:", ":uid:0"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
        assert!(Selector::new("a:b", "c").is_err());
    }
}
