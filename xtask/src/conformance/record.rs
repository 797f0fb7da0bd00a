//! What came out of every spec: `images/boot-tests/conformance.toml`, which people read as docs/conformance.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The file, from the top of the repository.
pub(super) const FILE: &str = "images/boot-tests/conformance.toml";

/// Every spec by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[serde(default, rename = "specs")]
    pub(super) specs: BTreeMap<String, Entry>,
}

/// What is known of one spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Nothing as long as it was not its turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<Outcome>,
    /// Why it failed or was not run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
}

/// How a spec ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It failed.
    Failed,
    /// It says itself, or somebody wrote down, that the cluster lacks what it needs.
    NotRun,
    /// It passed.
    Passed,
}

impl Record {
    /// Reads it from the repository; a missing file is an empty record.
    pub(super) fn load(repo: &Path) -> Result<Self> {
        match fs::read_to_string(repo.join(FILE)) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("cannot use {FILE}")),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {FILE}")),
        }
    }

    /// Writes it whole.
    pub(super) fn save(&self, repo: &Path) -> Result<()> {
        let text = toml::to_string(self).context("cannot write a record of specs")?;
        let path = repo.join(FILE);
        let fresh = path.with_extension("toml.new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .inspect_err(|_| drop(fs::remove_file(&fresh)))
            .with_context(|| format!("cannot write {FILE}"))
    }

    /// Takes the specs that the suite has: new ones have no result, those that it no longer has are forgotten.
    pub(super) fn follow(&mut self, names: &[String]) {
        self.specs.retain(|name, _| names.contains(name));
        for name in names {
            self.specs.entry(name.clone()).or_default();
        }
    }

    /// The next specs: at most `most` without a result, or all whose name contains one of `asked`.
    pub(super) fn next(&self, asked: &[String], most: usize) -> Vec<String> {
        let is_wanted = |name: &str, entry: &Entry| match asked {
            [] => entry.result.is_none(),
            asked => asked.iter().any(|text| name.contains(text.as_str())),
        };
        let wanted = self.specs.iter().filter(|(name, entry)| is_wanted(name, entry));
        let most = if asked.is_empty() { most } else { usize::MAX };
        wanted.map(|(name, _)| name.clone()).take(most).collect()
    }

    /// Notes a result.
    pub(super) fn note(&mut self, name: &str, result: Outcome, reason: String) {
        let reason = if result == Outcome::Passed { String::new() } else { reason };
        self.specs.insert(name.to_owned(), Entry { result: Some(result), reason });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_batch_takes_what_has_no_result_yet() {
        let mut record = Record::default();
        record.follow(&names(&["b", "a", "c"]));
        record.note("a", Outcome::Passed, "nothing".to_owned());
        assert_eq!(record.next(&[], 20), ["b", "c"]);
        assert_eq!(record.next(&[], 1), ["b"]);
        assert_eq!(record.next(&names(&["a", "c"]), 1), ["a", "c"], "what is asked for is run again");
        record.follow(&names(&["a", "c", "d"]));
        assert_eq!(record.specs.keys().collect::<Vec<_>>(), ["a", "c", "d"]);
        assert_eq!(record.specs["a"].result, Some(Outcome::Passed), "results are kept");
    }

    #[test]
    fn a_record_is_the_same_after_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(FILE).parent().unwrap()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), Record::default());
        let mut record = Record::default();
        record.follow(&names(&["[sig-node] A \"spec\" [NodeConformance]", "other"]));
        record.note("other", Outcome::Failed, "line\nline".to_owned());
        record.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), record);
    }
}
