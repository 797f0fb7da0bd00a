//! What is said of the machine config, and of changes of it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The machine config of a host. Its texts hold secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HostConfig {
    /// Another text after each change of what is in effect or applied, and after a restart; it has no other meaning.
    pub revision: String,
    /// All sources merged, as TOML.
    pub effective: String,
    /// What was applied at run time, as it was written; that which is on trial, when one is.
    pub applied: Option<String>,
    /// Sources that are in use, lowest precedence first.
    pub sources: Vec<String>,
    /// One sentence for each mistake.
    pub errors: Vec<String>,
    /// Whether what is applied survives a restart: whether there is a state partition.
    pub persistent: bool,
    /// The config that is on trial.
    pub trial: Option<Trial>,
}

/// A machine config that is on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Trial {
    /// What keeps it: [`crate::Request::ConfirmConfig`].
    pub id: String,
    /// Milliseconds until the host goes back to the config before.
    pub left_ms: u64,
}

/// What a machine config changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigChange {
    /// See [`HostConfig::revision`]: the one after the change, or the one now if nothing was changed.
    pub revision: String,
    /// By key; those that are overridden come last.
    pub differences: Vec<Difference>,
    /// How many more there are, when the list was cut.
    pub left_out: u32,
    /// Whether it survives a restart: whether there is a state partition.
    pub persistent: bool,
    /// Its trial, when it is on one.
    pub trial: Option<Trial>,
    /// What could not be done, one sentence each; the rest is.
    pub errors: Vec<String>,
}

/// A key of the machine config that gets another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// The key: `network.dns`, `services[web].command`.
    pub key: String,
    /// What is in effect, as TOML; none when nothing is. Secrets are `(secret)`, and long texts are cut.
    pub old: Option<String>,
    /// What it becomes; none when nothing does.
    pub new: Option<String>,
    /// When it takes effect.
    pub effect: Effect,
}

/// When a change takes effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// At once.
    Live,
    /// At the next start of the host.
    Restart,
    /// Not as long as this source has the key, too.
    Overridden {
        /// Name of the source.
        source: String,
    },
    /// Not on this host: it has no such service, which would read the key.
    NoService {
        /// Its name.
        service: String,
    },
}

/// A mistake in a machine config.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ConfigProblem {
    /// Line, from 1; 0 when it is of no single line.
    pub line: u32,
    /// The key with those of the tables around it; empty for the whole text.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Debug for HostConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostConfig")
            .field("revision", &self.revision)
            .field("sources", &self.sources)
            .field("errors", &self.errors)
            .field("persistent", &self.persistent)
            .field("trial", &self.trial)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Answer;

    #[test]
    fn answers_come_back_and_secrets_are_not_shown() {
        let config = HostConfig {
            revision: "a-1".into(),
            effective: "kubelet.token = \"hunter2\"".into(),
            applied: Some("hunter2".into()),
            sources: vec!["image".into()],
            errors: vec![],
            persistent: true,
            trial: Some(Trial { id: "t".into(), left_ms: 5 }),
        };
        assert!(!format!("{config:?}").contains("hunter2"));
        let change = ConfigChange {
            revision: "a-2".into(),
            differences: vec![Difference {
                key: "hostname".into(),
                old: None,
                new: Some("\"a\"".into()),
                effect: Effect::Overridden { source: "cmdline".into() },
            }],
            left_out: 0,
            persistent: false,
            trial: None,
            errors: vec![],
        };
        let problem = ConfigProblem { line: 3, key: "a.b".into(), message: "bad".into() };
        assert_eq!(problem.to_string(), "line 3: a.b: bad");
        for answer in [
            Answer::Config(Box::new(config)),
            Answer::ConfigChange(Box::new(change)),
            Answer::ConfigProblems(vec![problem]),
        ] {
            let line = answer.to_line();
            assert_eq!(serde_json::from_str::<Answer>(line.trim_end()).unwrap(), answer);
        }
    }
}
