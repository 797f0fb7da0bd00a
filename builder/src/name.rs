//! Names that people write, parsed once: image, package and root path. Never raw strings afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A text that is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {kind}: {rule}")]
pub struct BadName {
    text: String,
    kind: &'static str,
    rule: &'static str,
}

/// The name of an image: a file `images/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageName(String);

/// The name of a package: a folder `packages/NAME`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackageName(String);

/// The folder of a crate below `packages`: `NAME`, or `NAME/PART` for one of several crates of a package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CrateFolder(String);

/// An absolute path inside the root of an image, without `.`, `..` or doubled slashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RootPath(String);

/// The rule of names that become file names and parts of identifiers.
const NAME_RULE: &str = "use lower-case letters, digits and hyphens, a letter first, at most 32";
const PATH_RULE: &str = "use an absolute path without . or .. parts and without a final slash";

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(plain)
}

impl FromStr for ImageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), kind: "an image name", rule: NAME_RULE };
        is_name(text).then(|| Self(text.to_owned())).ok_or_else(bad)
    }
}

impl FromStr for PackageName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), kind: "a package name", rule: NAME_RULE };
        is_name(text).then(|| Self(text.to_owned())).ok_or_else(bad)
    }
}

impl FromStr for CrateFolder {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad =
            || BadName { text: text.to_owned(), kind: "a crate's folder below packages", rule: NAME_RULE };
        text.split('/').all(is_name).then(|| Self(text.to_owned())).ok_or_else(bad)
    }
}

impl CrateFolder {
    /// The name of the folder itself.
    pub fn last(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl FromStr for RootPath {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = || BadName { text: text.to_owned(), kind: "a path in the root", rule: PATH_RULE };
        let rest = text.strip_prefix('/').ok_or_else(bad)?;
        let good = |part: &str| !part.is_empty() && part != "." && part != ".." && !part.contains('\0');
        rest.split('/').all(good).then(|| Self(text.to_owned())).ok_or_else(bad)
    }
}

impl RootPath {
    /// The path without its leading slash, as archives store it.
    pub fn relative(&self) -> &str {
        &self.0[1..]
    }

    /// The folders above it, outermost first, without the root itself.
    pub fn parents(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self.0.match_indices('/').map(|(at, _)| at).skip(1);
        slashes.map(|at| Self(self.0[..at].to_owned()))
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl $name {
            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_type!(ImageName);
text_type!(PackageName);
text_type!(CrateFolder);
text_type!(RootPath);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_folder() {
        for bad in ["", "../minimal", "a/b", "Node", "-x", ".", "9p", &"x".repeat(33)] {
            assert!(bad.parse::<ImageName>().is_err(), "{bad}");
        }
        for good in ["minimal", "node-vmware", "n2"] {
            assert!(good.parse::<PackageName>().is_ok(), "{good}");
        }
    }

    #[test]
    fn root_paths_are_plain_and_absolute() {
        for bad in ["", "/", "etc", "/etc/", "/a//b", "/a/../b", "/./a"] {
            assert!(bad.parse::<RootPath>().is_err(), "{bad}");
        }
        let path: RootPath = "/usr/lib/os-release".parse().unwrap();
        let parents: Vec<String> = path.parents().map(|parent| parent.to_string()).collect();
        assert_eq!(parents, ["/usr", "/usr/lib"]);
        assert_eq!(path.relative(), "usr/lib/os-release");
    }
}
