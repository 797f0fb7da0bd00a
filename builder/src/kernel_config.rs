//! The kernel's configuration: fragments with reasons, and the gate that nothing asked for is lost.

mod requirements;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::arch::Arch;
use crate::spec::{Parsed, SpecError};
use requirements::Requirements;

/// Folder of the fragments.
const FOLDER: &str = "kernel-config";

/// `kernel-config/kernel.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct KernelSpec {
    /// Name of the Debian source package in `packages.lock`.
    pub source: String,
    /// Make target that answers everything the fragments leave open.
    pub base: String,
    /// Fragments in order, without their extension; the architecture's own follows.
    pub fragments: Vec<String>,
}

/// The wanted answers: symbol -> value (`n` for "is not set"), and the text kconfig reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedConfig {
    symbols: BTreeMap<String, Wanted>,
    requirements: Requirements,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    value: String,
    place: String,
}

/// Wanted answers that kconfig did not give.
#[derive(Debug, thiserror::Error)]
#[error(
    "the resolved kernel configuration lost {}:{}\nhint: a dependency is off, or this kernel no longer has the symbol",
    count(.0),
    .0.iter().map(|lost| format!("\n  {lost}")).collect::<String>()
)]
pub struct LostSymbols(Vec<String>);

fn count(lost: &[String]) -> String {
    if lost.len() == 1 { "1 wanted symbol".to_owned() } else { format!("{} wanted symbols", lost.len()) }
}

impl KernelSpec {
    /// Reads the description in a repository.
    pub fn load(repo: &Path) -> Result<Self, SpecError> {
        Ok(Parsed::<Self>::load(repo, &format!("{FOLDER}/kernel.toml"))?.value)
    }
}

impl WantedConfig {
    /// Reads all fragments for `arch`; a symbol may stand in one place only.
    pub fn load(repo: &Path, spec: &KernelSpec, arch: Arch) -> Result<Self, SpecError> {
        let requirements = Requirements::load(repo)?;
        let mut wanted = Self { symbols: BTreeMap::new(), requirements, text: String::new() };
        for name in spec.fragments.iter().map(String::as_str).chain([arch.name()]) {
            let shown = format!("{FOLDER}/{name}.config");
            let text = fs::read_to_string(repo.join(&shown)).map_err(|error| SpecError {
                place: shown.clone(),
                message: format!("cannot read the fragment: {error}"),
            })?;
            wanted.add(&shown, &text)?;
        }
        Ok(wanted)
    }

    /// What kconfig reads: assignments only, no comments, so that a reason can change without a rebuild.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Fails when the resolved configuration differs from a wanted answer, or lacks what a published list asks for.
    pub fn check(&self, resolved: &str) -> Result<(), LostSymbols> {
        let got: BTreeMap<&str, &str> = resolved.lines().filter_map(assignment).collect();
        let mut lost: Vec<String> = self
            .symbols
            .iter()
            .filter_map(|(symbol, wanted)| {
                // A symbol that kconfig does not print is off.
                let value = got.get(symbol.as_str()).copied().unwrap_or("n");
                let text = || format!("{}: {symbol}={} became {value}", wanted.place, wanted.value);
                (value != wanted.value).then(text)
            })
            .collect();
        let built_in = got.iter().filter(|(_, value)| **value == "y").map(|(symbol, _)| *symbol).collect();
        lost.extend(self.requirements.unmet(&built_in));
        if lost.is_empty() { Ok(()) } else { Err(LostSymbols(lost)) }
    }

    fn add(&mut self, shown: &str, text: &str) -> Result<(), SpecError> {
        for (index, line) in text.lines().enumerate() {
            let place = format!("{shown}:{}", index + 1);
            let Some((symbol, value)) = assignment(line) else {
                if line.trim().is_empty() || line.starts_with("# ") || line == "#" {
                    continue;
                }
                let message =
                    format!("{line:?} is neither CONFIG_X=y, `# CONFIG_X is not set` nor a comment");
                return Err(SpecError { place, message });
            };
            let wanted = Wanted { value: value.to_owned(), place: place.clone() };
            if let Some(other) = self.symbols.insert(symbol.to_owned(), wanted) {
                let message = format!("{symbol} is set already in {}", other.place);
                return Err(SpecError { place, message });
            }
            self.text.push_str(line.trim_end());
            self.text.push('\n');
        }
        Ok(())
    }
}

/// Symbol and value of a line of a kconfig file.
fn assignment(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_end();
    if let Some(symbol) = line.strip_prefix("# ").and_then(|rest| rest.strip_suffix(" is not set")) {
        return symbol.starts_with("CONFIG_").then_some((symbol, "n"));
    }
    line.split_once('=').filter(|(symbol, _)| symbol.starts_with("CONFIG_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(text: &str) -> Result<WantedConfig, SpecError> {
        let requirements = Requirements::default();
        let mut wanted = WantedConfig { symbols: BTreeMap::new(), requirements, text: String::new() };
        wanted.add("kernel-config/x.config", text).map(|()| wanted)
    }

    #[test]
    fn the_gate_names_each_lost_symbol_and_its_line() {
        let wanted =
            wanted("# why\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_D=n\n").unwrap();
        assert_eq!(wanted.text(), "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=\"x\"\nCONFIG_D=n\n");
        assert!(wanted.check("CONFIG_A=y\nCONFIG_C=\"x\"\n").is_ok());
        let error = wanted.check("CONFIG_B=y\nCONFIG_C=\"x\"\n").unwrap_err().to_string();
        assert!(error.contains("lost 2 wanted symbols"), "{error}");
        assert!(error.contains("x.config:2: CONFIG_A=y became n"), "{error}");
        assert!(error.contains("x.config:3: CONFIG_B=n became y"), "{error}");
    }

    #[test]
    fn a_symbol_stands_in_one_place_and_every_line_has_a_meaning() {
        assert!(wanted("CONFIG_A=y\nCONFIG_A=y\n").unwrap_err().to_string().contains("set already"));
        assert!(wanted("CONFIG_A y\n").unwrap_err().to_string().contains("neither"));
    }
}
