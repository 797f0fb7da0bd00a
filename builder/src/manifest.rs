//! What lies beside artifacts: `.manifest.json`, `.kconfig` and `SHA256SUMS`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::artifact::Format;
use crate::digest::Digest;
use crate::plan::{LockedPlan, Plan};
use crate::store::{FileFacts, Output};

/// The list of digests that `sha256sum --check` reads.
pub const SUMS: &str = "SHA256SUMS";

/// `.manifest.json`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Manifest<'a> {
    /// The resolved plan.
    plan: &'a Plan,
    /// Identifies the plan with all its pinned inputs.
    plan_digest: Digest,
    /// Seconds since 1970 that every file carries.
    date: u64,
    /// Debian version of the kernel source.
    kernel_version: &'a str,
    /// Parts of every artifact.
    parts: BTreeMap<&'static str, FileFacts>,
    /// Files of this build by name.
    files: BTreeMap<String, FileFacts>,
}

/// Digests and sizes of every file that `written` names, looking into folders.
pub fn file_facts(dir: &Path, written: &[(Format, String)]) -> io::Result<BTreeMap<String, FileFacts>> {
    let mut facts = BTreeMap::new();
    for (_, name) in written {
        for entry in walkdir::WalkDir::new(dir.join(name)).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                let relative = entry.path().strip_prefix(dir).unwrap_or(entry.path());
                let (sha256, size) = Digest::of_file(entry.path())?;
                facts.insert(relative.to_string_lossy().into_owned(), FileFacts { sha256, size });
            }
        }
    }
    Ok(facts)
}

impl<'a> Manifest<'a> {
    /// The manifest of one build.
    pub fn new(
        locked: &'a LockedPlan,
        kernel: &Output,
        init: FileFacts,
        initrd: FileFacts,
        files: BTreeMap<String, FileFacts>,
    ) -> Self {
        let mut parts = BTreeMap::from([("init", init), ("initrd", initrd)]);
        parts.extend(kernel.facts("vmlinuz").map(|facts| ("kernel", facts)));
        Self {
            plan: locked.plan(),
            plan_digest: locked.digest(),
            date: locked.date(),
            kernel_version: locked.kernel_version(),
            parts,
            files,
        }
    }

    /// The text of the file.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a manifest is made of text and numbers");
        text.push('\n');
        text
    }
}

/// The list of `dir` with the digests of `files`, which are about to be put there. Lines of files that are gone are
/// dropped, and those of folders that are replaced.
pub fn update_sums(dir: &Path, files: &BTreeMap<String, FileFacts>) -> String {
    let top = |name: &str| name.split('/').next().unwrap_or(name).to_owned();
    let replaced: BTreeSet<String> = files.keys().map(|name| top(name)).collect();
    let old = fs::read_to_string(dir.join(SUMS)).unwrap_or_default();
    let mut sums: BTreeMap<String, String> = BTreeMap::new();
    for line in old.lines() {
        if let Some((sum, name)) = line.split_once("  ")
            && !replaced.contains(&top(name))
            && dir.join(name).is_file()
        {
            sums.insert(name.to_owned(), sum.to_owned());
        }
    }
    sums.extend(files.iter().map(|(name, facts)| (name.clone(), facts.sha256.to_string())));
    sums.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
}
