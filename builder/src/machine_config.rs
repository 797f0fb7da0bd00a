//! The machine config that `--config` builds into an image: the default that a host starts with.
//!
//! Only what can be decided at build time is accepted; it becomes files of the image's `/etc`.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::digest::Digest;
use crate::name::RootPath;
use crate::spec::{Parsed, SpecError};

/// Where PID 1 finds what it copies to `/etc`.
const ETC: &str = "/usr/share/lepton/etc";

/// A machine config as a person writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigSpec {
    hostname: Option<Spanned<String>>,
    #[serde(default)]
    files: Vec<FileSpec>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileSpec {
    path: Spanned<RootPath>,
    content: String,
}

/// A checked machine config.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    files: Vec<(RootPath, String)>,
    digest: Option<Digest>,
}

impl MachineConfig {
    /// No config: the image's own defaults.
    pub const NONE: Self = Self { files: Vec::new(), digest: None };

    /// Reads and checks `path`; all mistakes are reported together.
    pub fn load(path: &Path) -> Result<Self, Vec<SpecError>> {
        let shown = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|error| {
            vec![SpecError {
                place: shown.clone(),
                message: format!("cannot read the machine config: {error}"),
            }]
        })?;
        Self::parse(&shown, text)
    }

    fn parse(shown: &str, text: String) -> Result<Self, Vec<SpecError>> {
        let digest = Digest::of(text.as_bytes());
        let parsed = Parsed::<ConfigSpec>::parse(shown, text).map_err(|error| vec![error])?;
        let mut errors = Vec::new();
        let mut files = Vec::new();
        if let Some(name) = &parsed.value.hostname {
            if is_hostname(name.get_ref()) {
                files.push((etc_path("/hostname"), format!("{}\n", name.get_ref())));
            } else {
                let rule = "use letters, digits and hyphens, with dots between labels, at most 64 characters (RFC 1123)";
                errors.push(parsed.error_at(name, format!("{:?} is no host name: {rule}", name.get_ref())));
            }
        }
        for file in &parsed.value.files {
            match file.path.get_ref().as_str().strip_prefix("/etc") {
                Some(below) if below.starts_with('/') => files.push((etc_path(below), file.content.clone())),
                _ => {
                    let message = format!(
                        "{} is not below /etc, the only place for files of a machine config",
                        file.path.get_ref()
                    );
                    errors.push(parsed.error_at(&file.path, message));
                }
            }
        }
        if errors.is_empty() { Ok(Self { files, digest: Some(digest) }) } else { Err(errors) }
    }

    /// The files of the image, by path.
    pub fn files(&self) -> impl Iterator<Item = (&RootPath, &str)> {
        self.files.iter().map(|(path, text)| (path, text.as_str()))
    }

    /// Digest of the text, when there is a config.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

fn etc_path(below: &str) -> RootPath {
    format!("{ETC}{below}").parse().expect("a root path below another is a root path")
}

fn is_hostname(name: &str) -> bool {
    let is_label = |label: &str| {
        let plain = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain && !label.is_empty() && label.len() <= 63 && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= 64 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn becomes_files_of_etc() {
        let text = "hostname = \"edge-1\"\n[[files]]\npath = \"/etc/motd\"\ncontent = \"hello\"\n".to_owned();
        let config = MachineConfig::parse("x.toml", text).unwrap();
        let files: Vec<(&str, &str)> = config.files().map(|(path, text)| (path.as_str(), text)).collect();
        assert_eq!(
            files,
            [("/usr/share/lepton/etc/hostname", "edge-1\n"), ("/usr/share/lepton/etc/motd", "hello")]
        );
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "hostname = \"-x\"\n[[files]]\npath = \"/usr/bin/x\"\ncontent = \"\"\n".to_owned();
        let errors = MachineConfig::parse("x.toml", text).unwrap_err();
        let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
        assert_eq!(places, ["x.toml:1", "x.toml:3"]);
        let unknown = MachineConfig::parse("x.toml", "hostnam = \"x\"\n".to_owned()).unwrap_err();
        assert!(unknown[0].message.contains("did you mean \"hostname\"?"), "{}", unknown[0]);
    }
}
