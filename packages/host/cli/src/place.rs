//! Where the user's files are. The only file that reads the environment.

use std::ffi::OsString;
use std::path::PathBuf;

/// The file of contexts, by the XDG Base Directory Specification; none when nobody says where.
pub(crate) fn contexts() -> Option<PathBuf> {
    place(variable("XDG_CONFIG_HOME"), variable("HOME"))
}

fn place(config: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    // "All paths set in these environment variables must be absolute": others are to be ignored.
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let folder = config.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".config")));
    Some(folder?.join("lepton/config.toml"))
}

#[expect(clippy::disallowed_methods, reason = "a program for people; nothing of an artifact depends on it")]
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let at =
            |config: Option<&str>, home: Option<&str>| place(config.map(Into::into), home.map(Into::into));
        assert_eq!(at(Some("/c"), Some("/h")), Some("/c/lepton/config.toml".into()));
        assert_eq!(at(Some("c"), Some("/h")), Some("/h/.config/lepton/config.toml".into()));
        assert_eq!(at(None, Some("/h")), Some("/h/.config/lepton/config.toml".into()));
        assert_eq!(at(None, None), None);
    }
}
