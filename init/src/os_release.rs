//! `/usr/lib/os-release`: which image this is (os-release(5)).
//!
//! Only the two keys that the ready line reports are kept; a missing key is `None`, not an error, because it
//! must not stop a boot.

use std::fs;

/// The identity of the running image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OsRelease {
    /// `IMAGE_ID`
    pub image: Option<String>,
    /// `IMAGE_VERSION`
    pub version: Option<String>,
}

impl OsRelease {
    /// Reads the image's file; one that cannot be read names nothing.
    pub fn read() -> Self {
        Self::parse(&fs::read_to_string("/usr/lib/os-release").unwrap_or_default())
    }

    /// Reads `KEY=value` lines; comments, other keys and lines without `=` are skipped.
    pub fn parse(text: &str) -> Self {
        let mut release = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            match line.split_once('=') {
                Some(("IMAGE_ID", value)) => release.image = Some(unquote(value)),
                Some(("IMAGE_VERSION", value)) => release.version = Some(unquote(value)),
                _ => {}
            }
        }
        release
    }
}

/// Undoes shell quoting: single quotes are literal; elsewhere a backslash makes the next character literal.
fn unquote(value: &str) -> String {
    if let Some(literal) = value.strip_prefix('\'') {
        return literal.strip_suffix('\'').unwrap_or(literal).to_owned();
    }
    let mut text = String::new();
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {}
            '\\' => text.extend(chars.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_and_unknown_keys() {
        let release = OsRelease::parse(
            "# comment\nNAME=\"Lepton\"\nIMAGE_ID=node\nIMAGE_VERSION=\"1.2 \\\"rc\\\"\"\nno equals\nARCHITECTURE='x86-64'\n",
        );
        assert_eq!(release.image.as_deref(), Some("node"));
        assert_eq!(release.version.as_deref(), Some("1.2 \"rc\""));
        assert_eq!(OsRelease::parse("#IMAGE_ID=x\nIMAGE_IDX=y"), OsRelease::default());
    }
}
