//! A config that the service `config` fetches once there is a network: what PID 1 keeps for it, and how it is merged.
//!
//! Its place in the order of sources is that of the source that names its URL, behind what that source says itself.
//! Fetching is the service's business; nothing here waits for it.

use lepton_config::MachineConfig;

use super::apply::write_secret;
use super::{Gathered, Pending};

/// What the service is told: the URL alone.
const URL: &str = "/run/lepton/config-url";
/// Name of the source in the ready line.
const NAME: &str = "url";

/// The config in use, and what is kept for one that is fetched.
#[derive(Clone, Debug, Default)]
pub struct Late {
    effective: MachineConfig,
    pending: Option<Pending>,
    is_used: bool,
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

impl Late {
    /// Takes what the sources said, and leaves the URL where the service finds it.
    pub fn new(gathered: &Gathered) -> Self {
        let mut late =
            Self { effective: gathered.config.clone(), pending: gathered.later.clone(), ..Self::default() };
        if let Some(pending) = &late.pending {
            late.errors.extend(write_secret(URL, &pending.url).err());
        }
        late
    }

    /// Whether a config is to be fetched.
    pub fn is_asked(&self) -> bool {
        self.pending.is_some()
    }

    /// The config in use.
    pub fn effective(&self) -> &MachineConfig {
        &self.effective
    }

    /// Merges a fetched config at its place; gives the config that was in use before.
    pub fn merge(
        &mut self,
        fetched: MachineConfig,
        sources: &mut Vec<String>,
    ) -> Result<MachineConfig, Unusable> {
        let pending = self.pending.as_ref().ok_or(Unusable::NotAsked)?;
        let mut config = pending.above.clone();
        config.fill_from(fetched);
        // What comes before the fetched config is in there, too, but has its keys already.
        config.fill_from(self.effective.clone());
        if !self.is_used {
            self.is_used = true;
            sources.insert(pending.place.min(sources.len()), NAME.to_owned());
        }
        Ok(std::mem::replace(&mut self.effective, config))
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

    #[test]
    fn a_fetched_config_has_its_place_among_the_sources() {
        let above = config("hostname = \"word\"\n");
        let mut effective = above.clone();
        effective.fill_from(config(
            "time.servers = [\"a\"]\nnetwork.dns = [\"192.0.2.1\"]\nsysctl = { \"vm.x\" = 1 }\n",
        ));
        let mut late = Late {
            effective,
            pending: Some(Pending { url: "http://192.0.2.1/".into(), above, place: 2 }),
            ..Late::default()
        };
        let mut sources: Vec<String> = ["image", "fw_cfg", "cmdline"].map(str::to_owned).into();
        let fetched = || {
            config("hostname = \"low\"\ntime.servers = [\"b\"]\nsysctl = { \"vm.x\" = 2, \"vm.y\" = 3 }\n")
        };
        let old = late.merge(fetched(), &mut sources).unwrap();
        assert_eq!(old.time.servers[0].as_str(), "a");
        let wanted = config(
            "hostname = \"word\"\ntime.servers = [\"b\"]\nnetwork.dns = [\"192.0.2.1\"]\nsysctl = { \"vm.x\" = 2, \"vm.y\" = 3 }\n",
        );
        assert_eq!(*late.effective(), wanted);
        assert_eq!(sources, ["image", "fw_cfg", "url", "cmdline"]);
        assert_eq!(late.merge(fetched(), &mut sources), Ok(wanted), "the same again changes nothing");
        assert_eq!(sources.len(), 4);
    }

    #[test]
    fn nobody_may_bring_a_config_that_was_not_asked_for() {
        let mut sources = Vec::new();
        assert_eq!(Late::default().merge(config("hostname = \"x\""), &mut sources), Err(Unusable::NotAsked));
        assert!(sources.is_empty());
    }
}
