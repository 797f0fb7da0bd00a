//! The hardening gate: kernel-hardening-checker reads the built configuration and the command line, and every complaint
//! must be an exception that is listed with its reason; every listed exception must still be one.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::process::ProcessError;
use crate::sandbox::Sandbox;
use crate::spec::{Parsed, SpecError};
use crate::store::StoreError;
use crate::tools::{Toolbox, ToolsError};

/// Where the exceptions are listed.
pub const EXCEPTIONS_FILE: &str = "kernel-config/hardening-exceptions.toml";
/// The tool set with the checker and what it runs on.
pub const SET: &str = "hardening";
/// Raised when this file judges differently from the same inputs.
const RECIPE: &str = "hardening-1";
/// The checker.
const CHECKER: &str = "kernel-hardening-checker";

/// The list of exceptions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exceptions {
    /// In the order of the file.
    #[serde(rename = "exception", default)]
    pub list: Vec<Exception>,
}

/// Checks that fail on purpose.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exception {
    /// Names as the checker prints them.
    pub symbols: Vec<String>,
    /// Architectures it holds for; absent: all of them.
    pub arch: Option<Vec<Arch>>,
    /// Why.
    pub reason: String,
}

/// The gate is closed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HardeningError {
    /// The configuration and the list differ.
    #[error(
        "the kernel of {arch} is not hardened as {EXCEPTIONS_FILE} says\n  fails without being listed: {}\n  \
         listed without failing: {}\nhint: ask for the symbol in kernel-config/, or list it there with the reason against it",
        shown(.unlisted),
        shown(.healed)
    )]
    Differs {
        /// The architecture.
        arch: Arch,
        /// Checks that fail and are not listed.
        unlisted: BTreeSet<String>,
        /// Checks that are listed and do not fail.
        healed: BTreeSet<String>,
    },
    /// The list is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The checker failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The checker's report cannot be read.
    #[error("cannot understand the report of {CHECKER}")]
    Report(#[source] serde_json::Error),
    /// The checker could not be had.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn shown(names: &BTreeSet<String>) -> String {
    if names.is_empty() { "none".to_owned() } else { names.iter().cloned().collect::<Vec<_>>().join(", ") }
}

impl Exceptions {
    /// Reads the list of a repository; one without a reason, or named twice, is an error.
    pub fn load(repo: &Path) -> Result<Self, SpecError> {
        let list = Parsed::<Self>::load(repo, EXCEPTIONS_FILE)?.value;
        list.check()?;
        Ok(list)
    }

    fn check(&self) -> Result<(), SpecError> {
        let fail = |message| Err(SpecError { place: EXCEPTIONS_FILE.to_owned(), message });
        for arch in Arch::ALL {
            let mut seen = BTreeSet::new();
            for exception in self.list.iter().filter(|exception| exception.is_for(arch)) {
                if exception.reason.trim().is_empty() {
                    return fail(format!("{:?} has no reason", exception.symbols));
                }
                if let Some(symbol) = exception.symbols.iter().find(|symbol| !seen.insert(symbol.as_str())) {
                    return fail(format!("{symbol} is listed twice for {arch}"));
                }
            }
        }
        Ok(())
    }

    /// Names of the checks that fail on `arch`.
    pub fn names(&self, arch: Arch) -> BTreeSet<String> {
        let these = self.list.iter().filter(|exception| exception.is_for(arch));
        these.flat_map(|exception| exception.symbols.iter().cloned()).collect()
    }
}

impl Exception {
    /// Whether it holds for `arch`.
    pub fn is_for(&self, arch: Arch) -> bool {
        self.arch.as_ref().is_none_or(|arches| arches.contains(&arch))
    }
}

/// What is judged.
#[derive(Debug)]
pub struct Gate<'a> {
    /// The list.
    pub exceptions: &'a Exceptions,
    /// The architecture.
    pub arch: Arch,
    /// The kernel's command line.
    pub cmdline: &'a str,
}

impl Gate<'_> {
    /// What the verdict on `config` depends on.
    fn key(&self, config: Digest, toolbox: &Toolbox<'_>) -> Result<Digest, HardeningError> {
        let mut key = KeyBuilder::new(RECIPE)
            .with_digest("tools", toolbox.key(SET).map_err(ToolsError::from)?)
            .with_digest("config", config)
            .with("cmdline", self.cmdline);
        for name in self.exceptions.names(self.arch) {
            key = key.with("exception", name);
        }
        Ok(key.finish())
    }

    /// What artifacts depend on that passed the gate; the configuration is not in it.
    pub fn settings(&self, toolbox: &Toolbox<'_>) -> Result<Digest, HardeningError> {
        self.key(Digest::of(b""), toolbox)
    }

    /// Fails unless `config` passes; the store remembers one that did.
    pub fn pass(&self, config: &Path, toolbox: &Toolbox<'_>) -> Result<(), HardeningError> {
        let (digest, _) = Digest::of_file(config).map_err(file_error("read", config))?;
        let key = self.key(digest, toolbox)?;
        // No output: what another store says of a configuration does not open the gate.
        let passed = toolbox.store.cache("hardening")?.join(key.to_string());
        if passed.exists() {
            return Ok(());
        }
        let tree = toolbox.tree(SET)?;
        let work = toolbox.store.scratch(SET)?;
        let report = self.judge(tree.root(), config, work.path())?;
        let fresh = work.path().join("report.json");
        fs::write(&fresh, report)
            .and_then(|()| fs::rename(&fresh, &passed))
            .map_err(file_error("write", &passed))
    }

    /// Asks the checker of the tool tree `tools`, with `work` as a scratch folder; gives its report.
    pub fn judge(&self, tools: &Path, config: &Path, work: &Path) -> Result<String, HardeningError> {
        let report = report(tools, config, self.cmdline, work)?;
        let failed = failed(&report)?;
        let listed = self.exceptions.names(self.arch);
        let difference = |one: &BTreeSet<String>, other| one.difference(other).cloned().collect();
        let (unlisted, healed): (BTreeSet<String>, BTreeSet<String>) =
            (difference(&failed, &listed), difference(&listed, &failed));
        if unlisted.is_empty() && healed.is_empty() {
            return Ok(report);
        }
        Err(HardeningError::Differs { arch: self.arch, unlisted, healed })
    }
}

fn report(tools: &Path, config: &Path, cmdline: &str, work: &Path) -> Result<String, HardeningError> {
    let path = work.join("cmdline");
    fs::write(&path, format!("{cmdline}\n")).map_err(file_error("write", &path))?;
    // The checker takes what ends in .gz for compressed, so the name is ours.
    let checker =
        Sandbox::new(tools, CHECKER).read_only(config, "/in/kernel.config").read_only(&path, "/in/cmdline");
    Ok(checker.args(["-m", "json", "-c", "/in/kernel.config", "-l", "/in/cmdline"]).process().output()?)
}

/// One line of the checker's report.
#[derive(Debug, Deserialize)]
struct Check {
    option_name: String,
    check_result_bool: bool,
}

/// Names of the failed checks of a report.
fn failed(report: &str) -> Result<BTreeSet<String>, HardeningError> {
    let checks: Vec<Check> = serde_json::from_str(report).map_err(HardeningError::Report)?;
    let failed = checks.into_iter().filter(|check| !check.check_result_bool);
    Ok(failed.map(|check| check.option_name).collect())
}

fn file_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> HardeningError {
    let path = path.into();
    move |source| HardeningError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exceptions(text: &str) -> Result<Exceptions, SpecError> {
        let list: Exceptions = toml::from_str(text).unwrap();
        list.check().map(|()| list)
    }

    #[test]
    fn an_exception_needs_a_reason_and_stands_once() {
        let one = "[[exception]]\nsymbols = [\"A\"]\narch = [\"x86_64\"]\nreason = \"because\"\n";
        let names = exceptions(one).unwrap().names(Arch::Aarch64);
        assert!(names.is_empty(), "{names:?}");
        let bare = exceptions(&one.replace("because", " ")).unwrap_err().to_string();
        assert!(bare.contains("has no reason"), "{bare}");
        let twice = exceptions(&format!("{one}[[exception]]\nsymbols = [\"A\"]\nreason = \"x\"\n"));
        let twice = twice.unwrap_err().to_string();
        assert!(twice.contains("A is listed twice for x86_64"), "{twice}");
    }

    #[test]
    fn the_repositorys_list_is_sound() {
        let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(Exceptions::load(repo).unwrap().names(Arch::X86_64).len() > 10);
    }

    #[test]
    fn only_failed_checks_count() {
        let report = r#"[{"option_name":"A","check_result_bool":true,"type":"x"},{"option_name":"B","check_result_bool":false}]"#;
        assert_eq!(failed(report).unwrap(), BTreeSet::from(["B".to_owned()]));
        assert!(failed("").is_err());
    }
}
