//! What differs between two machine configs, by key. Pure.

use std::collections::{BTreeMap, BTreeSet};

use lepton_config::MachineConfig;

/// A key with its value before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Differs {
    /// The key, as [`lepton_config::rows`] has it.
    pub key: String,
    /// As TOML.
    pub old: Option<String>,
    /// As TOML.
    pub new: Option<String>,
}

/// Every key whose value is another one, in the order of their names.
pub fn differences(old: &MachineConfig, new: &MachineConfig) -> Vec<Differs> {
    let mut old: BTreeMap<String, String> = old.rows().into_iter().collect();
    let mut found = Vec::new();
    for (key, value) in new.rows() {
        match old.remove(&key) {
            Some(before) if before == value => {}
            before => found.push(Differs { key, old: before, new: Some(value) }),
        }
    }
    found.extend(old.into_iter().map(|(key, value)| Differs { key, old: Some(value), new: None }));
    found.sort_by(|a, b| a.key.cmp(&b.key));
    found
}

/// The first part of a key: `network` of `network.dns`, `services` of `services[web].command`.
pub fn table_of(key: &str) -> &str {
    key.split(['.', '[']).next().unwrap_or(key)
}

/// What sources are merged by: a list is one key.
pub fn merged_by(key: &str) -> &str {
    key.split('[').next().unwrap_or(key)
}

/// The first parts of all keys whose values differ.
pub fn tables_that_differ(old: &MachineConfig, new: &MachineConfig) -> BTreeSet<String> {
    differences(old, new).iter().map(|differs| table_of(&differs.key).to_owned()).collect()
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
    fn keys_that_differ() {
        let old = config(
            "hostname = 'a'\nnetwork.dns = ['192.0.2.1']\nsysctl = { 'vm.x' = 1, 'vm.y' = 2 }\n\
             [[services]]\nname = 'web'\ncommand = ['/a']\n[[services]]\nname = 'api'\ncommand = ['/b']\n",
        );
        let new = config(
            "hostname = 'b'\nnetwork.dns = ['192.0.2.1']\nsysctl = { 'vm.y' = 3, 'vm.z' = 1 }\n\
             [[services]]\nname = 'api'\ncommand = ['/b']\n[[services]]\nname = 'web'\ncommand = ['/c']\n",
        );
        let shown = |differs: &Differs| {
            let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
            format!("{} {} {}", differs.key, text(&differs.old), text(&differs.new))
        };
        let found: Vec<String> = differences(&old, &new).iter().map(shown).collect();
        assert_eq!(
            found,
            [
                "hostname \"a\" \"b\"",
                "services[web].command [\"/a\"] [\"/c\"]",
                "sysctl.\"vm.x\" \"1\" -",
                "sysctl.\"vm.y\" \"2\" \"3\"",
                "sysctl.\"vm.z\" - \"1\"",
            ]
        );
        assert!(differences(&old, &old).is_empty());
        let tables: Vec<String> = tables_that_differ(&old, &new).into_iter().collect();
        assert_eq!(tables, ["hostname", "services", "sysctl"]);
        assert_eq!(merged_by("network.links[0].match.name"), "network.links");
        assert_eq!(table_of("sysctl.\"vm.x\""), "sysctl");
    }
}
