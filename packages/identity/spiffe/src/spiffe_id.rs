//! SPIFFE IDs.

use std::fmt;
use std::str::FromStr;

use crate::{TrustDomain, TrustDomainError};

const SCHEME: &str = "spiffe://";
/// SPIFFE-ID section 2.3.
const LONGEST: usize = 2048;

/// A SPIFFE ID: `spiffe://example.org/web`. Without a path it is the trust domain itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    trust_domain: TrustDomain,
    /// Empty, or segments that each begin with a slash.
    path: String,
}

/// Why a text is no SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpiffeIdError {
    /// It is another kind of URI.
    #[error("a SPIFFE ID begins with spiffe://")]
    Scheme,
    /// It is too long.
    #[error("a SPIFFE ID has at most {LONGEST} bytes, and this one {0}")]
    Long(usize),
    /// The part between the scheme and the path.
    #[error(transparent)]
    TrustDomain(#[from] TrustDomainError),
    /// A segment of the path.
    #[error(
        "{0:?} is no segment of a SPIFFE ID's path: use letters, digits, dots, hyphens and underscores, not . or .. alone"
    )]
    Segment(String),
    /// Slashes at the end or one after the other.
    #[error("the path of a SPIFFE ID has no empty segments and no slash at its end")]
    EmptySegment,
    /// A path begins with one.
    #[error("the path of a SPIFFE ID begins with a slash")]
    NoSlash,
}

impl SpiffeId {
    /// The ID with that path, which is empty or begins with a slash.
    pub fn new(trust_domain: TrustDomain, path: &str) -> Result<Self, SpiffeIdError> {
        if !path.is_empty() {
            let segments = path.strip_prefix('/').ok_or(SpiffeIdError::NoSlash)?;
            segments.split('/').try_for_each(check_segment)?;
        }
        let length = SCHEME.len() + trust_domain.as_str().len() + path.len();
        if length > LONGEST {
            return Err(SpiffeIdError::Long(length));
        }
        Ok(Self { trust_domain, path: path.to_owned() })
    }

    /// The ID of the trust domain itself.
    pub fn of(trust_domain: TrustDomain) -> Self {
        Self { trust_domain, path: String::new() }
    }

    /// Its trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path: empty, or it begins with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn check_segment(segment: &str) -> Result<(), SpiffeIdError> {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    match segment {
        "" => Err(SpiffeIdError::EmptySegment),
        "." | ".." => Err(SpiffeIdError::Segment(segment.to_owned())),
        _ if segment.bytes().all(is_good) => Ok(()),
        _ => Err(SpiffeIdError::Segment(segment.chars().take(80).collect())),
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > LONGEST {
            return Err(SpiffeIdError::Long(text.len()));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (name, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        // A second scheme would be stripped there.
        if name.ends_with(':') {
            return Err(TrustDomainError::Character(name.to_owned()).into());
        }
        Self::new(name.parse()?, path)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.trust_domain, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_ones_are_written_as_they_were_read() {
        let longest = format!("spiffe://td/{}", "a".repeat(2048 - 12));
        for (text, name, path) in [
            ("spiffe://example.org", "example.org", ""),
            ("spiffe://example.org/web", "example.org", "/web"),
            ("spiffe://a/B/c.d/..e/f_g-9", "a", "/B/c.d/..e/f_g-9"),
            (&longest, "td", &longest[11..]),
        ] {
            let id: SpiffeId = text.parse().unwrap();
            assert_eq!((id.trust_domain().as_str(), id.path(), &*id.to_string()), (name, path, text));
        }
    }

    #[test]
    fn bad_ones() {
        let long = format!("spiffe://td/{}", "a".repeat(2048 - 11));
        for text in [
            "",
            "spiffe:",
            "spiffe:/a",
            "spiffe://",
            "spiffe:///web",
            "SPIFFE://a/b",
            "https://a/b",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/b/",
            "spiffe://a/./b",
            "spiffe://a/../b",
            "spiffe://a/..",
            "spiffe://A/b",
            "spiffe://a:443/b",
            "spiffe://u@a/b",
            "spiffe://a/b?c",
            "spiffe://a/b#c",
            "spiffe://a?b",
            "spiffe://a/%62",
            "spiffe://a/é",
            "spiffe://spiffe://a",
            "spiffe://a\0",
            long.as_str(),
        ] {
            assert!(text.parse::<SpiffeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn of_parts() {
        let domain: TrustDomain = "a".parse().unwrap();
        assert_eq!(SpiffeId::new(domain.clone(), "/b").unwrap(), "spiffe://a/b".parse().unwrap());
        assert_eq!(SpiffeId::of(domain.clone()).to_string(), "spiffe://a");
        assert_eq!(SpiffeId::new(domain.clone(), "b"), Err(SpiffeIdError::NoSlash));
        assert_eq!(SpiffeId::new(domain, "/"), Err(SpiffeIdError::EmptySegment));
    }
}
