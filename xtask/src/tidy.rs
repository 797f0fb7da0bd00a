//! Rules of this repository that no compiler knows.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Longest source file: past it there are two jobs in one file.
const LONGEST: usize = 500;
/// Folders that hold no sources.
const FOLDERS_LEFT_OUT: [&str; 3] = ["target", "out", ".git"];

/// All broken rules, one line each.
pub(crate) fn check(repo: &Path) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    let mut unchecked = 0;
    let left_out = |name: &str| FOLDERS_LEFT_OUT.contains(&name);
    let entries = walkdir::WalkDir::new(repo)
        .sort_by_file_name()
        .into_iter()
        .filter_entry(|entry| entry.depth() == 0 || !left_out(&entry.file_name().to_string_lossy()));
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        let shown = path.strip_prefix(repo).unwrap_or(path).display().to_string();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {shown}"))?;
            unchecked += source(&shown, &text, &mut broken);
        }
        if entry.file_name() == "package.toml" && !shown.starts_with("xtask/") {
            broken.extend(misplaced_package(&shown));
        }
    }
    members(repo, &mut broken)?;
    eprintln!("unsafe_code blocks: {unchecked}");
    Ok(broken)
}

/// Rules of one source file; gives its count of unsafe blocks.
fn source(shown: &str, text: &str, broken: &mut Vec<String>) -> usize {
    let lines = text.lines().count();
    if lines > LONGEST && !shown.contains("/generated/") {
        broken.push(format!("{shown}: {lines} lines; split it, {LONGEST} are the limit"));
    }
    if !text.starts_with("//!") && !text.starts_with("// UNSAFETY:") && !shown.contains("/generated/") {
        broken.push(format!("{shown}: the first line must say what the file is (`//! …`)"));
    }
    // Written in two parts so that this file does not count itself.
    let marker = concat!("unsafe", " {");
    let blocks = text.matches(marker).count();
    if blocks > 0 && !shown.ends_with("/sys.rs") {
        broken.push(format!("{shown}: unsafe_code belongs into a file named sys.rs"));
    }
    blocks
}

/// `packages/NAME/package.toml` is the only place of a recipe.
fn misplaced_package(shown: &str) -> Option<String> {
    let parts: Vec<&str> = shown.split('/').collect();
    let right = matches!(parts[..], ["packages", _, "package.toml"]);
    (!right).then(|| format!("{shown}: a recipe belongs into packages/NAME/"))
}

/// Every package with a Cargo.toml is a workspace member.
fn members(repo: &Path, broken: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(repo.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let listed = walkdir::WalkDir::new(repo.join("packages")).min_depth(2).max_depth(2).sort_by_file_name();
    for entry in listed {
        let entry = entry?;
        let folder = entry
            .path()
            .parent()
            .and_then(|dir| dir.strip_prefix(repo).ok())
            .map(|dir| dir.display().to_string());
        if let Some(folder) = folder.filter(|_| entry.file_name() == "Cargo.toml")
            && !text.contains(&format!("\"{folder}\""))
        {
            broken.push(format!("{folder}: it has a Cargo.toml but is no workspace member"));
        }
    }
    Ok(())
}
