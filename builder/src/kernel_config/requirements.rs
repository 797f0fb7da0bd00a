//! The second gate: what others publish that their software needs of a kernel, as lists of symbols.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::FOLDER;
use crate::spec::SpecError;

/// One line of a list: any of these symbols fulfils it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    any_of: Vec<String>,
    place: String,
}

/// All lists in `kernel-config/requirements`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Requirements(Vec<Requirement>);

impl Requirements {
    /// Reads the lists of a repository; there may be none.
    pub(super) fn load(repo: &Path) -> Result<Self, SpecError> {
        let folder = format!("{FOLDER}/requirements");
        let listed = walkdir::WalkDir::new(repo.join(&folder)).min_depth(1).sort_by_file_name();
        let mut requirements = Self::default();
        for entry in listed.into_iter().flatten() {
            let shown = format!("{folder}/{}", entry.file_name().to_string_lossy());
            let text = fs::read_to_string(entry.path()).map_err(|error| SpecError {
                place: shown.clone(),
                message: format!("cannot read the list: {error}"),
            })?;
            requirements.add(&shown, &text);
        }
        Ok(requirements)
    }

    fn add(&mut self, shown: &str, text: &str) {
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if !line.is_empty() && !line.starts_with('#') {
                let any_of = line.split('|').map(|symbol| format!("CONFIG_{}", symbol.trim())).collect();
                self.0.push(Requirement { any_of, place: format!("{shown}:{}", index + 1) });
            }
        }
    }

    /// The lines that a configuration with these symbols built in does not fulfil.
    pub(super) fn unmet(&self, built_in: &BTreeSet<&str>) -> Vec<String> {
        self.0
            .iter()
            .filter(|requirement| !requirement.any_of.iter().any(|symbol| built_in.contains(symbol.as_str())))
            .map(|requirement| format!("{}: {} is off", requirement.place, requirement.any_of.join(" or ")))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_alternatives_is_enough() {
        let mut requirements = Requirements::default();
        requirements.add("x.txt", "# why\nA\nB|C\n\nD|E\n");
        let built_in = BTreeSet::from(["CONFIG_A", "CONFIG_C"]);
        assert_eq!(requirements.unmet(&built_in), ["x.txt:5: CONFIG_D or CONFIG_E is off"]);
    }
}
