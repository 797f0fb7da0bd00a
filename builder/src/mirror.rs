//! Which Debian mirror to use: the environment's, else the one this machine's apt is configured with.
//!
//! No address is written in this repository.

use std::path::{Path, PathBuf};

use crate::lock::Archive;

/// The variable that names a mirror: the main archive's address, then optionally the security archive's.
pub const VARIABLE: &str = "LEPTON_DEBIAN_MIRROR";

/// Addresses of the two archives, without a final slash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    main: String,
    security: String,
}

/// No mirror could be found.
#[derive(Debug, thiserror::Error)]
#[error(
    "no Debian mirror is known: {why}\nhint: set {VARIABLE} to the address of a Debian archive (the folder that holds \
     dists/ and pool/), optionally followed by a space and the address of the security archive"
)]
pub struct NoMirror {
    why: String,
}

impl Mirror {
    /// From the value of [`VARIABLE`] when it is set, else from the apt sources below `etc_apt`.
    pub fn find(variable: Option<&str>, os_release: &str, etc_apt: &Path) -> Result<Self, NoMirror> {
        if let Some(text) = variable.filter(|text| !text.trim().is_empty()) {
            let mut words = text.split_whitespace();
            let main = trimmed(words.next().unwrap_or_default());
            let security = match words.next() {
                Some(address) => trimmed(address),
                None => security_beside(&main).ok_or_else(|| NoMirror {
                    why: format!("{VARIABLE} is {main}, and no part of it is \"debian\", so the security archive is unknown"),
                })?,
            };
            return Ok(Self { main, security });
        }
        if !os_release.lines().any(|line| line == "ID=debian") {
            return Err(NoMirror { why: "this machine is no Debian".to_owned() });
        }
        let addresses: Vec<String> = source_files(etc_apt)
            .iter()
            .filter_map(|path| std::fs::read_to_string(path).ok())
            .flat_map(|text| addresses(&text))
            .collect();
        Self::from_addresses(&addresses).ok_or_else(|| NoMirror {
            why: format!("no source below {} is a Debian archive", etc_apt.display()),
        })
    }

    fn from_addresses(addresses: &[String]) -> Option<Self> {
        let has = |address: &&String, part: &str| address.split('/').any(|found| found == part);
        let main = addresses.iter().find(|address| has(address, "debian"))?;
        let security = addresses.iter().find(|address| has(address, "debian-security")).cloned();
        Some(Self { main: main.clone(), security: security.or_else(|| security_beside(main))? })
    }

    /// The address of an archive.
    pub fn address(&self, archive: Archive) -> &str {
        match archive {
            Archive::Debian => &self.main,
            Archive::DebianSecurity => &self.security,
        }
    }

    /// The archive and path of a full address below this mirror.
    pub fn split<'a>(&self, address: &'a str) -> Option<(Archive, &'a str)> {
        [Archive::DebianSecurity, Archive::Debian].into_iter().find_map(|archive| {
            let path = address.strip_prefix(self.address(archive))?.strip_prefix('/')?;
            Some((archive, path))
        })
    }
}

fn trimmed(address: &str) -> String {
    address.trim_end_matches('/').to_owned()
}

/// `…/debian` → `…/debian-security`, wherever in the address the part stands (dated mirrors add a date).
fn security_beside(main: &str) -> Option<String> {
    let mut parts: Vec<&str> = main.split('/').collect();
    let part = parts.iter_mut().rev().find(|part| **part == "debian")?;
    *part = "debian-security";
    Some(parts.join("/"))
}

fn source_files(etc_apt: &Path) -> Vec<PathBuf> {
    let is_source = |path: &Path| path.extension().is_some_and(|ext| ext == "list" || ext == "sources");
    let listed = walkdir::WalkDir::new(etc_apt.join("sources.list.d")).sort_by_file_name();
    let mut files = vec![etc_apt.join("sources.list")];
    files.extend(
        listed.into_iter().flatten().map(walkdir::DirEntry::into_path).filter(|path| is_source(path)),
    );
    files
}

/// Addresses in a `.list` or deb822 `.sources` file (sources.list(5)), in order.
fn addresses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let one_line = line.strip_prefix("deb ").or_else(|| line.strip_prefix("deb-src "));
        let words = match (line.strip_prefix("URIs:"), one_line) {
            (Some(list), _) => list,
            (None, Some(rest)) => rest.split_once(']').map_or(rest, |(_, after)| after),
            (None, None) => continue,
        };
        let is_address = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        found.extend(words.split_whitespace().filter(is_address).map(trimmed));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mirror(main: &str, security: &str) -> Mirror {
        Mirror { main: main.to_owned(), security: security.to_owned() }
    }

    #[test]
    fn the_variable_wins_and_its_second_half_can_be_derived() {
        let find = |text| Mirror::find(Some(text), "", Path::new("/nowhere"));
        assert_eq!(
            find("http://m.example/debian/").unwrap(),
            mirror("http://m.example/debian", "http://m.example/debian-security")
        );
        assert_eq!(
            find("http://m.example/archive/debian/20260101T000000Z").unwrap().security,
            "http://m.example/archive/debian-security/20260101T000000Z"
        );
        assert_eq!(find("http://a/x http://b/y").unwrap(), mirror("http://a/x", "http://b/y"));
        assert!(find("http://a/x").unwrap_err().to_string().contains("security archive is unknown"));
    }

    #[test]
    fn reads_both_source_formats() {
        let list = "# deb http://no.example/debian x main\ndeb [arch=amd64 signed-by=/k] http://a.example/debian trixie main\n";
        let deb822 = "Types: deb\nURIs: https://b.example/debian-security/\nSuites: x\n";
        assert_eq!(addresses(list), ["http://a.example/debian"]);
        assert_eq!(addresses(deb822), ["https://b.example/debian-security"]);
    }

    #[test]
    fn a_machine_that_is_no_debian_gets_a_hint() {
        let error = Mirror::find(None, "ID=fedora\n", Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("no Debian") && error.contains(VARIABLE), "{error}");
    }
}
