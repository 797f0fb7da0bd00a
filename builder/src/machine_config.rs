//! The machine config that `--config` builds into an image: the default that a host starts with.
//!
//! It is checked here as PID 1 will read it, but strictly: a mistake that a host would step over stops a build.

use std::fs;
use std::path::Path;

use lepton_pod_manifest::{Pod, Route, Settings};

use crate::digest::Digest;
use crate::name::RootPath;
use crate::spec::SpecError;

/// Where PID 1 finds the config of its image.
const PATH: &str = "/usr/share/lepton/config.toml";

/// A checked machine config.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    text: Option<(String, Digest)>,
}

impl MachineConfig {
    /// No config: the image's own defaults.
    pub const NONE: Self = Self { text: None };

    /// Reads and checks `path`; all mistakes are reported together.
    pub fn load(path: &Path) -> Result<Self, Vec<SpecError>> {
        let shown = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            let message = format!("cannot read the machine config: {error}");
            vec![SpecError { place: shown.clone(), message }]
        })?;
        Self::parse(&shown, &bytes)
    }

    fn parse(shown: &str, bytes: &[u8]) -> Result<Self, Vec<SpecError>> {
        let parsed = lepton_config::parse_bytes(shown, bytes);
        if parsed.problems.is_empty() {
            // A host reads these later than the rest, and PID 1 does not.
            let mut errors = manifests(shown, &parsed.config);
            errors.extend(settings(shown, &parsed.config));
            if !errors.is_empty() {
                return Err(errors);
            }
            let text = String::from_utf8_lossy(bytes).into_owned();
            return Ok(Self { text: Some((text, Digest::of(bytes))) });
        }
        Err(parsed.problems.into_iter().map(error_of).collect())
    }

    /// The file that the image gets, and its text.
    pub fn file(&self) -> Option<(RootPath, &str)> {
        let path = PATH.parse().expect("a root path");
        self.text.as_ref().map(|(text, _)| (path, text.as_str()))
    }

    /// Digest of the text, when there is a config.
    pub fn digest(&self) -> Option<Digest> {
        self.text.as_ref().map(|(_, digest)| *digest)
    }
}

/// What is wrong with manifests of pods.
fn manifests(shown: &str, config: &lepton_config::MachineConfig) -> Vec<SpecError> {
    let mistake = |(index, pod): (usize, &lepton_config::Pod)| {
        let port = pod.route_port.map(lepton_config::Port::get);
        let route = pod.route.as_ref().map(|host| Route { host: host.as_str(), port });
        let error = Pod::with_route(&pod.manifest, route).err()?;
        let message = format!("pods[{index}].manifest: {error}");
        Some(SpecError { place: shown.to_owned(), message })
    };
    config.pods.iter().enumerate().filter_map(mistake).collect()
}

/// What is wrong with kubelet's settings.
fn settings(shown: &str, config: &lepton_config::MachineConfig) -> Option<SpecError> {
    let error = Settings::parse(config.kubelet.settings.as_deref()).err()?;
    Some(SpecError { place: shown.to_owned(), message: format!("kubelet.settings: {error}") })
}

/// A mistake in the form that those of descriptions have.
fn error_of(problem: lepton_config::Problem) -> SpecError {
    let place =
        if problem.line > 0 { format!("{}:{}", problem.source, problem.line) } else { problem.source };
    let message = if problem.key.is_empty() {
        problem.message
    } else {
        format!("{}: {}", problem.key, problem.message)
    };
    SpecError { place, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn becomes_a_file_of_the_image() {
        let text = "hostname = \"edge-1\"\n[[files]]\npath = \"/etc/motd\"\ncontent = \"hello\"\n";
        let config = MachineConfig::parse("x.toml", text.as_bytes()).unwrap();
        let (path, built_in) = config.file().unwrap();
        assert_eq!((path.as_str(), built_in), (PATH, text));
        assert!(MachineConfig::NONE.file().is_none());
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = "hostname = \"-x\"\n[[files]]\npath = \"/usr/bin/x\"\ncontent = \"\"\n";
        let errors = MachineConfig::parse("x.toml", text.as_bytes()).unwrap_err();
        let places: Vec<&str> = errors.iter().map(|error| error.place.as_str()).collect();
        assert_eq!(places, ["x.toml:1", "x.toml:3"]);
        let unknown = MachineConfig::parse("x.toml", b"hostnam = \"x\"\n").unwrap_err();
        let pod = MachineConfig::parse("x.toml", b"[[pods]]\nmanifest = \"kind: Job\"\n").unwrap_err();
        assert!(pod[0].message.starts_with("pods[0].manifest: it is Job"), "{}", pod[0]);
        let text = b"[kubelet]\nsettings = \"shutdownGracePeriod: 5m\"\n";
        let settings = MachineConfig::parse("x.toml", text).unwrap_err();
        let message = &settings[0].message;
        assert!(message.starts_with("kubelet.settings: shutdownGracePeriod: pods would get"), "{message}");
        assert!(unknown[0].message.contains("did you mean \"hostname\"?"), "{}", unknown[0]);
    }
}
