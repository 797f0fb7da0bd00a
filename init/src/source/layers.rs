//! The sources of the machine config that are in use, and what they say together.
//!
//! Two of them come late: one that the service `config` fetches once there is a network, and what is applied on a running
//! host. Each has its place; whatever changes, the effective config is merged anew from all. Nothing here waits.

use lepton_config::MachineConfig;

use super::apply::write_secret;
use super::{Gathered, IMAGE_NAME};
use crate::files;

/// What the service is told: the URL alone.
const URL: &str = "/run/lepton/config-url";
/// Name of the fetched source in the ready line.
const FETCHED: &str = "url";
/// Name of the one that was applied on a running host.
pub const APPLIED: &str = "applied";
/// Another text after each start of the host (random(4)).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// One source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub config: MachineConfig,
}

/// The sources in use.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// Highest precedence first.
    sources: Vec<Source>,
    effective: MachineConfig,
    /// The source that names a URL; what is fetched comes behind it.
    names_url: Option<&'static str>,
    boot: String,
    changes: u32,
    /// One sentence for each mistake of the fetched config, or why there is none.
    pub errors: Vec<String>,
}

/// Why a fetched config cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// Nothing asked for one.
    #[error("no source of this host's config names a URL")]
    NotAsked,
}

impl Layers {
    /// Takes what the sources said, and leaves the URL where the service finds it.
    pub fn new(gathered: Gathered) -> Self {
        let mut layers = Self { sources: gathered.sources, ..Self::default() };
        let boot = files::read_value(BOOT_ID).unwrap_or_default();
        layers.boot = boot.split('-').next().unwrap_or_default().to_owned();
        layers.effective = layers.with(None);
        if let Some(pending) = gathered.later {
            layers.errors.extend(write_secret(URL, &pending.url).err());
            layers.names_url = Some(pending.source);
        }
        layers
    }

    /// Whether a config is to be fetched.
    pub fn is_asked(&self) -> bool {
        self.names_url.is_some()
    }

    /// The config in use.
    pub fn effective(&self) -> &MachineConfig {
        &self.effective
    }

    /// Names of the sources, lowest precedence first.
    pub fn names(&self) -> Vec<String> {
        self.sources.iter().rev().map(|it| it.name.to_owned()).collect()
    }

    /// A text that is another one after each change and each start.
    pub fn revision(&self) -> String {
        format!("{}-{}", self.boot, self.changes)
    }

    /// Sources that come before what is applied, highest precedence first.
    pub fn above_applied(&self) -> &[Source] {
        &self.sources[..self.place_of_applied()]
    }

    /// What would be in use with this applied, instead of what is.
    pub fn with(&self, applied: Option<&MachineConfig>) -> MachineConfig {
        let place = self.place_of_applied();
        let mut config = MachineConfig::default();
        let (above, below) = self.sources.split_at(place);
        let below = below.iter().filter(|it| it.name != APPLIED);
        let configs = above.iter().map(|it| &it.config);
        for one in configs.chain(applied).chain(below.map(|it| &it.config)) {
            config.fill_from(one.clone());
        }
        config
    }

    /// Puts a fetched config in its place; gives the config that was in use before.
    pub fn set_fetched(&mut self, fetched: MachineConfig) -> Result<MachineConfig, Unusable> {
        let source = self.names_url.ok_or(Unusable::NotAsked)?;
        self.sources.retain(|it| it.name != FETCHED);
        let behind = self.sources.iter().position(|it| it.name == source);
        let place = behind.map_or(0, |place| place + 1);
        self.sources.insert(place, Source { name: FETCHED, config: fetched });
        Ok(self.merge())
    }

    /// What is applied.
    pub fn applied(&self) -> Option<&MachineConfig> {
        self.sources.iter().find(|it| it.name == APPLIED).map(|it| &it.config)
    }

    /// Puts what is applied in its place, or takes it away; gives the config that was in use before.
    pub fn set_applied(&mut self, applied: Option<MachineConfig>) -> MachineConfig {
        self.sources.retain(|it| it.name != APPLIED);
        if let Some(config) = applied {
            self.sources.insert(self.place_of_applied(), Source { name: APPLIED, config });
        }
        self.merge()
    }

    /// Where what is applied stands, or would: before the image's own config.
    fn place_of_applied(&self) -> usize {
        let is_there = |it: &Source| it.name == APPLIED || it.name == IMAGE_NAME;
        self.sources.iter().position(is_there).unwrap_or(self.sources.len())
    }

    fn merge(&mut self) -> MachineConfig {
        self.changes += 1;
        let config = self.with(self.applied());
        std::mem::replace(&mut self.effective, config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> MachineConfig {
        let parsed = lepton_config::parse("test", text);
        assert_eq!(parsed.problems, []);
        parsed.config
    }

    fn layers(of: &[(&'static str, &str)]) -> Layers {
        let sources = of.iter().map(|(name, text)| Source { name, config: config(text) }).collect();
        Layers::new(Gathered { sources, ..Gathered::default() })
    }

    #[test]
    fn a_fetched_config_has_its_place_among_the_sources() {
        let mut layers = layers(&[
            ("cmdline", "hostname = \"word\"\n"),
            ("fw_cfg", "time.servers = [\"a\"]\nnetwork.dns = [\"192.0.2.1\"]\nsysctl = { \"vm.x\" = 1 }\n"),
            ("image", ""),
        ]);
        layers.names_url = Some("cmdline");
        let fetched = || {
            config("hostname = \"low\"\ntime.servers = [\"b\"]\nsysctl = { \"vm.x\" = 2, \"vm.y\" = 3 }\n")
        };
        let old = layers.set_fetched(fetched()).unwrap();
        assert_eq!(old.time.servers[0].as_str(), "a");
        let wanted = config(
            "hostname = \"word\"\ntime.servers = [\"b\"]\nnetwork.dns = [\"192.0.2.1\"]\nsysctl = { \"vm.x\" = 2, \"vm.y\" = 3 }\n",
        );
        assert_eq!(*layers.effective(), wanted);
        assert_eq!(layers.names(), ["image", "fw_cfg", "url", "cmdline"]);
        assert_eq!(layers.set_fetched(fetched()), Ok(wanted), "the same again changes nothing");
        assert_eq!(layers.names().len(), 4);
        layers.set_fetched(config("hostname = \"low\"")).unwrap();
        assert_eq!(layers.effective().time.servers[0].as_str(), "a", "what it does not say any more is gone");
    }

    #[test]
    fn nobody_may_bring_a_config_that_was_not_asked_for() {
        assert_eq!(Layers::default().set_fetched(config("hostname = \"x\"")), Err(Unusable::NotAsked));
    }

    #[test]
    fn what_is_applied_comes_before_the_image_alone() {
        let mut layers = layers(&[
            ("cmdline", "hostname = \"word\""),
            ("esp", "time.servers = [\"a\"]"),
            ("image", "hostname = \"image\"\nnetwork.dns = [\"192.0.2.1\"]\nsysctl = { \"vm.x\" = 1 }"),
        ]);
        let first = layers.effective().clone();
        let revision = layers.revision();
        let applied = config(
            "hostname = \"applied\"\ntime.servers = [\"b\"]\nnetwork.dns = [\"192.0.2.9\"]\nsysctl = { \"vm.y\" = 2 }",
        );
        let names: Vec<_> = layers.above_applied().iter().map(|it| it.name).collect();
        assert_eq!(names, ["cmdline", "esp"]);
        let would = layers.with(Some(&applied));
        assert_eq!(layers.set_applied(Some(applied)), first);
        assert_eq!(*layers.effective(), would);
        assert_eq!(
            would,
            config(
                "hostname = \"word\"\ntime.servers = [\"a\"]\nnetwork.dns = [\"192.0.2.9\"]\nsysctl = { \"vm.x\" = 1, \"vm.y\" = 2 }"
            )
        );
        assert_eq!(layers.names(), ["image", "applied", "esp", "cmdline"]);
        assert_eq!(layers.above_applied().len(), 2);
        assert_ne!(layers.revision(), revision);
        assert_eq!(layers.with(None), first);
        layers.set_applied(None);
        assert_eq!(*layers.effective(), first);
        assert_eq!(layers.names(), ["image", "esp", "cmdline"]);
    }
}
