//! Files as such: their sizes against the budgets, and the list of digests by `sha256sum`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lepton_builder::digest::Digest;
use walkdir::WalkDir;

use super::case::{Defect, hold};
use super::plant::Copy;
use super::{Verdict, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// Name of the list of digests.
const SUMS: &str = "SHA256SUMS";
/// Lines of a difference that are shown.
const SHOWN: usize = 30;

/// Kernel and unified kernel image keep to their budgets, and the CD holds every byte once: it may be larger than
/// the unified kernel image by a twentieth.
pub(super) fn sizes(cx: &Context) -> Verdict {
    let uki = cx.artifact("efi")?;
    let uki_len = len_of(&uki)?;
    let pxe = cx.artifact("pxe")?;
    for (path, most) in [
        (pxe.join("vmlinuz"), cx.budgets.kernel_bytes),
        (uki, cx.budgets.uki_bytes),
        (cx.artifact("iso")?, uki_len + uki_len / 20),
    ] {
        let judge = |path: &Path| {
            let len = len_of(path)?;
            require("budget", len <= most, || format!("{} has {len} bytes of {most}", path.display()))
        };
        hold(&path, &judge, &[Defect::new("one byte too many", &|copy| copy.set_len(most + 1))])?;
    }
    Ok(())
}

fn len_of(path: &Path) -> Result<u64, TestError> {
    Ok(path.metadata().map_err(TestError::file("read", path))?.len())
}

/// Both files have the same bytes.
pub(super) fn same_bytes(judge: &'static str, found: &Path, wanted: &Path) -> Verdict {
    let digest = |path: &Path| Digest::of_file(path).map_err(TestError::file("read", path));
    let (found_digest, wanted_digest) = (digest(found)?, digest(wanted)?);
    require(judge, found_digest == wanted_digest, || {
        format!("{} is not {}", found.display(), wanted.display())
    })
}

/// Every file of the image is in the list, and every line of the list is right.
pub(super) fn sums(cx: &Context) -> Verdict {
    let names = names(cx)?;
    let judge = |sums: &Path| {
        let text = fs::read_to_string(sums).map_err(TestError::file("read", sums))?;
        for name in &names {
            let listed =
                text.lines().any(|line| line.split_once("  ").is_some_and(|(_, other)| other == name));
            require("list of digests", listed, || format!("{name} is not in {SUMS}"))?;
        }
        let check = tool::on(cx, "sha256sum", sums).read_only(&cx.artifacts, "/artifacts").cwd("/artifacts");
        tool::ask("sha256sum", &check.args(["--check", "--strict", "--quiet"]).arg(tool::shown(sums)))
            .map(drop)
    };
    let first_digit = |copy: &Copy| {
        let [digit] = copy.read(0)?;
        copy.write(0, if digit == b'0' { b"1" } else { b"0" })
    };
    let last_line = |copy: &Copy| {
        let text = copy.read_all()?;
        let end = text.strip_suffix(b"\n").and_then(|text| text.iter().rposition(|byte| *byte == b'\n'));
        copy.set_len(end.unwrap_or(0) as u64)
    };
    hold(
        &cx.artifacts.join(SUMS),
        &judge,
        &[Defect::new("a missing line", &last_line), Defect::new("a wrong digest", &first_digit)],
    )
}

/// Names of all files of the image, as the list writes them.
pub(super) fn names(cx: &Context) -> Result<Vec<String>, TestError> {
    let mut names = Vec::new();
    for entry in WalkDir::new(&cx.artifacts).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| refuse("list of files", error.to_string()))?;
        let name =
            entry.path().strip_prefix(&cx.artifacts).unwrap_or(entry.path()).to_string_lossy().into_owned();
        if entry.file_type().is_file() && name.starts_with(&format!("{}.", cx.stem)) {
            names.push(name);
        }
    }
    require("list of files", !names.is_empty(), || format!("no file of {}", cx.stem))?;
    Ok(names)
}

/// Lines of one text only, `-` for what is wanted and `+` for what was found.
pub(super) fn difference(wanted: &str, found: &str) -> String {
    let (wanted, found): (BTreeSet<&str>, BTreeSet<&str>) =
        (wanted.lines().collect(), found.lines().collect());
    let mut lines: Vec<String> = wanted.difference(&found).map(|line| format!("\n- {line}")).collect();
    lines.extend(found.difference(&wanted).map(|line| format!("\n+ {line}")));
    if lines.is_empty() {
        return "\nthe same lines in another order".to_owned();
    }
    let more = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    let rest = if more > 0 { format!("\n… and {more} more") } else { String::new() };
    lines.concat() + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_name_both_sides() {
        assert_eq!(difference("A=y\nB=y\n", "A=y\nB=m\n"), "\n- B=y\n+ B=m");
        assert_eq!(difference("A=y\nB=y\n", "B=y\nA=y\n"), "\nthe same lines in another order");
        let many: String = (0..40).map(|number| format!("{number}\n")).collect();
        assert!(difference(&many, "").ends_with("\n… and 10 more"));
    }
}
