//! What the machine config says about logs. A mistake there is said and left out, as everywhere.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lepton_config::{LogDestination, LogSource};

use crate::source::Kind;

/// What is to be done.
#[derive(Debug, Default)]
pub struct Settings {
    /// Who gets lines.
    pub destinations: Vec<LogDestination>,
    /// MiB of each one's buffer, when it is given.
    pub buffer_mib: Option<u32>,
    /// Lines of one source in a second; 0 for all.
    pub per_second: u32,
    /// Names of containers of the machine config.
    pub containers: Vec<String>,
}

impl Settings {
    /// What a destination takes.
    pub fn kinds(destination: &LogDestination) -> Vec<Kind> {
        let kinds = [
            (LogSource::Services, Kind::Services),
            (LogSource::Kernel, Kind::Kernel),
            (LogSource::Containers, Kind::Containers),
        ];
        kinds.into_iter().filter(|(source, _)| destination.takes(*source)).map(|(_, kind)| kind).collect()
    }
}

/// The machine config's file, which PID 1 writes anew when the config changes.
#[derive(Debug)]
pub struct MachineConfig {
    path: PathBuf,
    stamp: Option<(SystemTime, u64)>,
}

impl MachineConfig {
    /// It was not read yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, stamp: None }
    }

    /// What it says now, with one sentence for each thing that is left out.
    pub fn read(&mut self) -> (Settings, Vec<String>) {
        self.stamp = stamp(&self.path);
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Default::default(),
            Err(error) => {
                let problem = format!("cannot read {}: {error}", self.path.display());
                return (Settings::default(), vec![problem]);
            }
        };
        let parsed = lepton_config::parse_bytes(&self.path.display().to_string(), &bytes);
        let mut problems: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        let config = parsed.config;
        let (mut destinations, mut names) = (Vec::new(), BTreeSet::new());
        for destination in config.logs.destinations {
            let name = destination.name.to_string();
            if names.insert(name.clone()) {
                destinations.push(destination);
            } else {
                problems.push(format!("logs.destinations: there is more than one {name}; the first is used"));
            }
        }
        let settings = Settings {
            destinations,
            buffer_mib: config.logs.buffer_mib.map(|size| size.get()),
            per_second: config.logs.rate_lines_per_s.unwrap_or_default(),
            containers: config.containers.iter().map(|container| container.name.to_string()).collect(),
        };
        (settings, problems)
    }

    /// Whether it has changed since it was read.
    pub fn has_changed(&self) -> bool {
        stamp(&self.path) != self.stamp
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mut config = MachineConfig::new(path.clone());
        let (settings, problems) = config.read();
        assert!(settings.destinations.is_empty() && problems.is_empty());
        let text = "[logs]\nbuffer-mib = 3\nrate-lines-per-s = 100\n\
            [[logs.destinations]]\nname = 'a'\nurl = 'tcp://192.0.2.5:5140'\nsources = ['kernel']\n\
            [[logs.destinations]]\nname = 'a'\nurl = 'tcp://192.0.2.6:5140'\n\
            [[logs.destinations]]\nname = 'b'\nurl = 'http://192.0.2.6'\n\
            [[containers]]\nname = 'web'\nimage = 'registry.example/web:1'\n";
        fs::write(&path, text).unwrap();
        assert!(config.has_changed());
        let (settings, problems) = config.read();
        assert!(!config.has_changed());
        assert_eq!((settings.buffer_mib, settings.per_second), (Some(3), 100));
        assert_eq!(settings.containers, ["web"]);
        assert_eq!(settings.destinations.len(), 1);
        assert_eq!(Settings::kinds(&settings.destinations[0]), [Kind::Kernel]);
        assert_eq!(problems.len(), 2, "{problems:?}");
    }
}
