//! Names of images: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]` and what Docker and containerd make of short ones. Pure.

use std::fmt;
use std::str::FromStr;

use crate::digest::{Digest, DigestError, shortened};

/// The registry of names without a host.
pub(crate) const DEFAULT_HOST: &str = "docker.io";
/// Its former name, still in use.
const FORMER_DEFAULT_HOST: &str = "index.docker.io";
/// Where names of one word live in it.
const DEFAULT_FOLDER: &str = "library";
/// The tag of names without one.
const DEFAULT_TAG: &str = "latest";
/// Longest name without tag and digest, as the distribution's reference grammar has it.
const LONGEST_NAME: usize = 255;
/// Longest tag.
const LONGEST_TAG: usize = 128;

/// What is wrong with a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing.
    #[error("an image reference is empty")]
    Empty,
    /// The name is too long.
    #[error("image reference {0:?} has a name of more than 255 characters")]
    TooLong(String),
    /// A host that cannot be one.
    #[error("image reference {0:?} has a host that is neither a name nor an address with an optional port")]
    Host(String),
    /// A path component that the grammar does not know.
    #[error(
        "image reference {0:?} has a path that is not of lower-case letters, digits and single separators . _ __ - between slashes"
    )]
    Path(String),
    /// A tag that the grammar does not know.
    #[error("image reference {0:?} has a tag that is not of 1 to 128 letters, digits, _ . -")]
    Tag(String),
    /// The digest.
    #[error("image reference {reference:?}: {source}")]
    Digest {
        /// All of it.
        reference: String,
        /// What is wrong.
        source: DigestError,
    },
    /// 64 hexadecimal digits look like an ID.
    #[error("{0:?} is an image ID, not a reference: a registry does not know IDs")]
    Id(String),
}

/// A complete reference: it has a host, a path, and a tag or a digest or both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The registry, with its port if it has one.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The repository within the registry.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag; a reference with a digest may have none.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// `HOST/PATH`.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("{}/{}", self.host, self.path)
    }

    /// `HOST/PATH:TAG`, if it has a tag.
    #[must_use]
    pub fn tagged(&self) -> Option<String> {
        self.tag.as_ref().map(|tag| format!("{}:{tag}", self.repository()))
    }

    /// `HOST/PATH@DIGEST` for some digest.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> String {
        format!("{}@{digest}", self.repository())
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let shown = || shortened(text);
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        if Digest::from_hex(text).is_some() || text.starts_with("sha256:") {
            return Err(ReferenceError::Id(shown()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse();
                let digest =
                    digest.map_err(|source| ReferenceError::Digest { reference: shown(), source })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        // A colon after the last slash begins a tag; one before it begins a port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(ReferenceError::Tag(shown()));
        }
        let (host, path) = split_host(name);
        if !is_host(host) {
            return Err(ReferenceError::Host(shown()));
        }
        let path = if host == DEFAULT_HOST && !path.contains('/') {
            format!("{DEFAULT_FOLDER}/{path}")
        } else {
            path.to_owned()
        };
        if !path.split('/').all(is_component) {
            return Err(ReferenceError::Path(shown()));
        }
        if host.len() + 1 + path.len() > LONGEST_NAME {
            return Err(ReferenceError::TooLong(shown()));
        }
        let tag = match (tag, digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_TAG.to_owned()),
        };
        Ok(Self { host: host.to_owned(), path, tag, digest })
    }
}

/// The first component is a host when it has a dot, a port or an upper-case letter, or is `localhost`.
fn split_host(name: &str) -> (&str, &str) {
    let is_host = |first: &str| {
        first == "localhost"
            || first.contains(['.', ':'])
            || first.chars().any(|letter| letter.is_ascii_uppercase())
    };
    match name.split_once('/') {
        Some((FORMER_DEFAULT_HOST, path)) => (DEFAULT_HOST, path),
        Some((first, path)) if is_host(first) => (first, path),
        _ => (DEFAULT_HOST, name),
    }
}

/// A domain name, an IPv4 address, or an IPv6 address in brackets, with an optional port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                ("v6", if port.is_empty() { None } else { port.strip_prefix(':').or(Some("")) })
            }
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        },
    };
    let is_label = |label: &str| {
        let letters = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(letters)
    };
    let is_port = |port: &str| {
        port.chars().all(|digit| digit.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    name.split('.').all(is_label) && port.is_none_or(is_port)
}

/// Lower-case letters and digits with `.`, `_`, `__` or any number of `-` between them.
fn is_component(component: &str) -> bool {
    let is_letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    if !component.starts_with(is_letter) || !component.ends_with(is_letter) {
        return false;
    }
    let mut separators = component.split(is_letter);
    separators.all(|separator| {
        matches!(separator, "" | "." | "_" | "__") || separator.chars().all(|letter| letter == '-')
    })
}

fn is_tag(tag: &str) -> bool {
    let letters = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '.' | '-');
    (1..=LONGEST_TAG).contains(&tag.len()) && !tag.starts_with(['.', '-']) && tag.chars().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn check(text: &str, wanted: &str) {
        let shown = match text.parse::<Reference>() {
            Ok(reference) => reference.to_string(),
            Err(error) => format!("{error:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
        };
        assert_eq!(shown, wanted, "{text:?}");
    }

    #[test]
    fn short_names_are_completed() {
        check("busybox", "docker.io/library/busybox:latest");
        check("busybox:1.36", "docker.io/library/busybox:1.36");
        check("team/tool", "docker.io/team/tool:latest");
        check("docker.io/busybox", "docker.io/library/busybox:latest");
        check("index.docker.io/busybox", "docker.io/library/busybox:latest");
        check("localhost/tool", "localhost/tool:latest");
        check("localhost:5000/tool", "localhost:5000/tool:latest");
        check("registry.example/a/b/c:v1", "registry.example/a/b/c:v1");
        check("Registry/tool", "Registry/tool:latest");
        check("[::1]:5000/tool", "[::1]:5000/tool:latest");
        check("[2001:db8::1]/tool", "[2001:db8::1]/tool:latest");
        check("127.0.0.1:5000/tool:x", "127.0.0.1:5000/tool:x");
    }

    #[test]
    fn digests() {
        check(&format!("busybox@sha256:{HEX}"), &format!("docker.io/library/busybox@sha256:{HEX}"));
        check(&format!("busybox:1@sha256:{HEX}"), &format!("docker.io/library/busybox:1@sha256:{HEX}"));
        check("busybox@sha256:00", "Digest");
        check(&format!("busybox@sha512:{HEX}"), "Digest");
        check("busybox@", "Digest");
        check(HEX, "Id");
        check(&format!("sha256:{HEX}"), "Id");
    }

    #[test]
    fn refused() {
        check("", "Empty");
        for text in [
            "Busybox", "a//b", "/a", "a/", "a/../b", "a/.b", "a_-b", "a___b", "a..b", "-a", "a b", "ä",
            "a\0b",
        ] {
            check(text, "Path");
        }
        for text in ["a:", "a:.b", "a:-b", "a:b c", "a:ä", "x.example/a:b\n"] {
            check(text, "Tag");
        }
        check(&format!("a:{}", "b".repeat(129)), "Tag");
        check(&"a".repeat(256), "TooLong");
        for text in [
            "x.example:0/a",
            "x.example:99999/a",
            "x.example:+5/a",
            "-x.example/a",
            ".x/a",
            "[::1/a",
            "[z:z]/a",
            "a@b.c/d:1",
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(
                matches!(error, ReferenceError::Host(_) | ReferenceError::Digest { .. }),
                "{text:?}: {error}"
            );
        }
        check("http://x.example/a", "Host");
    }

    #[test]
    fn parts() {
        let reference: Reference = "x.example:5000/a/b:c".parse().unwrap();
        assert_eq!(
            (reference.host(), reference.path(), reference.tag()),
            ("x.example:5000", "a/b", Some("c"))
        );
        assert_eq!(reference.repository(), "x.example:5000/a/b");
        assert_eq!(reference.with_digest(Digest::of(b"")), format!("x.example:5000/a/b@sha256:{HEX}"));
    }
}
