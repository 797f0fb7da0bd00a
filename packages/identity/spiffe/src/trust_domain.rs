//! Names of trust domains.

use std::fmt;
use std::str::FromStr;

/// SPIFFE-ID section 2.1: as long as the host of a URI may be.
const LONGEST: usize = 255;

/// The name of a trust domain: `example.org`.
///
/// It is in lower case, as go-spiffe and SPIRE demand it: one trust domain has one spelling.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(String);

/// Why a text names no trust domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustDomainError {
    /// There is nothing.
    #[error("the trust domain is empty")]
    Empty,
    /// It has other characters.
    #[error("{0:?} is no trust domain: use lower-case letters, digits, dots, hyphens and underscores")]
    Character(String),
    /// It is too long.
    #[error("a trust domain has at most {LONGEST} characters, and this one {0}")]
    Long(usize),
}

impl TrustDomain {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = TrustDomainError;

    fn from_str(text: &str) -> Result<Self, TrustDomainError> {
        // SPIRE's configuration takes both forms, so people write both.
        let name = text.strip_prefix("spiffe://").unwrap_or(text);
        if name.is_empty() {
            return Err(TrustDomainError::Empty);
        }
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        if !name.bytes().all(is_good) {
            return Err(TrustDomainError::Character(name.chars().take(LONGEST).collect()));
        }
        if name.len() > LONGEST {
            return Err(TrustDomainError::Long(name.len()));
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let longest = "a".repeat(255);
        for good in ["example.org", "a", "1.2.3.4", "a_b-c.d", ".", longest.as_str()] {
            assert_eq!(good.parse::<TrustDomain>().unwrap().as_str(), good);
        }
        assert_eq!("spiffe://example.org".parse::<TrustDomain>().unwrap().as_str(), "example.org");
        let long = "a".repeat(256);
        for bad in ["", "spiffe://", "Example.org", "a:80", "a/b", "a b", "é", "u@a", "%61", long.as_str()] {
            assert!(bad.parse::<TrustDomain>().is_err(), "{bad}");
        }
    }
}
