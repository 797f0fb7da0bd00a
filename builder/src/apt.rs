//! apt with a configuration of its own: this machine's lists, cache and installed packages are not touched.
//!
//! Indexes are verified against the Debian archive keys in `builder/keys`; single files are checked
//! by the caller against the lock.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::arch::Arch;
use crate::process::{Process, ProcessError, find_system_program};

/// apt's settings in a folder of ours.
#[derive(Debug)]
pub struct Apt {
    config: PathBuf,
    lists: PathBuf,
}

/// apt could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AptError {
    /// The machine has none.
    #[error(
        "cannot find {0}: inputs are fetched by apt, which every Debian and Ubuntu has\nhint: install the package apt"
    )]
    Missing(&'static str),
    /// The private configuration could not be written.
    #[error("cannot write apt's configuration below {path}")]
    Write {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// apt failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Apt {
    /// A configuration below `dir` that sees only `sources` (lines of sources.list(5)).
    pub fn new(dir: &Path, host: Arch, sources: &str) -> Result<Self, AptError> {
        let fail = |source| AptError::Write { path: dir.to_owned(), source };
        for name in [
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/trusted.gpg.d",
            "state/lists/partial",
            "cache/archives/partial",
        ] {
            fs::create_dir_all(dir.join(name)).map_err(fail)?;
        }
        fs::write(dir.join("state/status"), "").map_err(fail)?;
        fs::write(dir.join("etc/sources.list"), sources).map_err(fail)?;
        let path = |name: &str| dir.join(name).display().to_string();
        let mut text = String::new();
        for (key, value) in [
            ("Dir::Etc", path("etc")),
            ("Dir::State", path("state")),
            ("Dir::State::status", path("state/status")),
            ("Dir::Cache", path("cache")),
            ("APT::Architecture", host.debian().to_owned()),
            ("APT::Sandbox::User", String::new()),
            ("APT::Install-Recommends", "false".to_owned()),
            ("Acquire::Languages", "none".to_owned()),
            ("Acquire::GzipIndexes", "false".to_owned()),
            ("Acquire::Retries", "2".to_owned()),
            // A proxy or mirror that does not answer must fail in a minute, not hang.
            ("Acquire::http::Timeout", "30".to_owned()),
            ("Acquire::https::Timeout", "30".to_owned()),
        ] {
            writeln!(text, "{key} \"{value}\";").expect("writing to a string cannot fail");
        }
        let names: Vec<String> = Arch::ALL.iter().map(|arch| format!("\"{}\";", arch.debian())).collect();
        writeln!(text, "APT::Architectures {{{}}};", names.concat())
            .expect("writing to a string cannot fail");
        let config = dir.join("apt.conf");
        fs::write(&config, text).map_err(fail)?;
        Ok(Self { config, lists: dir.join("state/lists") })
    }

    /// Fetches the indexes and verifies their signatures.
    pub fn update(&self, line: impl FnMut(&str)) -> Result<(), AptError> {
        Ok(self.program("apt-get")?.args(["-o", "APT::Update::Error-Mode=any", "update"]).run(line)?)
    }

    /// The addresses of `packages` and all they depend on.
    pub fn resolve(&self, packages: &[String]) -> Result<Vec<String>, AptError> {
        let text =
            self.program("apt-get")?.args(["install", "--yes", "--print-uris"]).args(packages).output()?;
        Ok(addresses(&text))
    }

    /// The addresses of `packages` alone.
    pub fn locate(&self, packages: &[String]) -> Result<Vec<String>, AptError> {
        let text = self.program("apt-get")?.args(["download", "--print-uris"]).args(packages).output()?;
        Ok(addresses(&text))
    }

    /// The text of every index that `update` fetched whose name ends in `suffix`.
    pub fn indexes(&self, suffix: &str) -> Result<Vec<String>, AptError> {
        let fail = |source| AptError::Write { path: self.lists.clone(), source };
        let listed = walkdir::WalkDir::new(&self.lists).max_depth(1).sort_by_file_name();
        let paths = listed.into_iter().flatten().map(walkdir::DirEntry::into_path);
        paths
            .filter(|path| path.to_string_lossy().ends_with(suffix))
            .map(|path| fs::read_to_string(path).map_err(fail))
            .collect()
    }

    /// Downloads each address to its path; what arrived stays, even when one fails.
    pub fn download(&self, files: &[(String, PathBuf)], line: impl FnMut(&str)) -> Result<(), AptError> {
        Ok(download_file(self.program("apt-helper")?, files).run(line)?)
    }

    /// The same, but what does not answer soon is given up: for what can be done without.
    pub fn try_download(&self, files: &[(String, PathBuf)], line: impl FnMut(&str)) -> Result<(), AptError> {
        let mut process = self.program("apt-helper")?;
        for option in ["Acquire::Retries=0", "Acquire::http::Timeout=10", "Acquire::https::Timeout=10"] {
            process = process.args(["-o", option]);
        }
        Ok(download_file(process, files).run(line)?)
    }

    fn program(&self, name: &'static str) -> Result<Process, AptError> {
        let path = find_system_program(name).ok_or(AptError::Missing(name))?;
        Ok(Process::new(path).inherit_env().env("APT_CONFIG", &self.config).env("LC_ALL", "C.UTF-8"))
    }
}

fn download_file(helper: Process, files: &[(String, PathBuf)]) -> Process {
    let process = helper.arg("download-file");
    files.iter().fold(process, |process, (address, path)| process.arg(address).arg(path).arg(""))
}

/// The quoted addresses in the output of `--print-uris`.
fn addresses(text: &str) -> Vec<String> {
    let quoted = |line: &str| line.strip_prefix('\'')?.split_once('\'').map(|(address, _)| unescape(address));
    text.lines().filter_map(quoted).collect()
}

/// Percent-decoding: apt prints addresses escaped, its indexes and pools use the plain form.
fn unescape(address: &str) -> String {
    let mut plain = Vec::new();
    let mut rest = address.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                plain.push(byte);
                rest = &after[2..];
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_addresses_between_other_lines() {
        let text = "Reading package lists...\n'http://m.example/debian/pool/z/z_1%2b2%7e3_amd64.deb' z_1+2~3_amd64.deb 8 \n";
        assert_eq!(addresses(text), ["http://m.example/debian/pool/z/z_1+2~3_amd64.deb"]);
    }
}
