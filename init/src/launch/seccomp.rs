//! System calls that a service may make: allow-lists of the image, applied as a filter.
//!
//! A list is a text file in [`DIR`]: one name per line, `x86_64 NAME` or `aarch64 NAME` for what only one architecture
//! has, and `#` before remarks. A call that is not on the list fails with `EPERM`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;

use seccompiler::{BpfProgram, TargetArch, apply_filter, compile_from_json};

use super::{LaunchError, step};

/// Where the lists lie.
const DIR: &str = "/usr/share/lepton/seccomp";

/// Reads and compiles the list of this name.
pub(super) fn load(name: &str) -> Result<BpfProgram, LaunchError> {
    let path = format!("{DIR}/{name}");
    let text = step(format!("read {path}"), fs::read_to_string(&path))?;
    step(format!("use {path}"), compile(&text, std::env::consts::ARCH).map_err(io::Error::other))
}

/// Lets this process make only what the filter allows, and everything it becomes.
pub(super) fn apply(filter: &BpfProgram) -> Result<(), LaunchError> {
    step("filter system calls", apply_filter(filter).map_err(|error| io::Error::other(error.to_string())))
}

/// Compiles a list for an architecture.
fn compile(text: &str, arch: &str) -> Result<BpfProgram, String> {
    let target = TargetArch::try_from(arch).map_err(|error| error.to_string())?;
    let mut calls = String::new();
    for name in names(text, arch) {
        if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(format!("{name:?} is no name of a system call"));
        }
        let comma = if calls.is_empty() { "" } else { "," };
        write!(calls, "{comma}{{\"syscall\":\"{name}\"}}").expect("writing to a string cannot fail");
    }
    let json = format!(
        r#"{{"list":{{"mismatch_action":{{"errno":1}},"match_action":"allow","filter":[{calls}]}}}}"#
    );
    let mut filters: BTreeMap<String, BpfProgram> =
        compile_from_json(json.as_bytes(), target).map_err(|error| error.to_string())?.into_iter().collect();
    filters.remove("list").ok_or_else(|| "it allows nothing".to_owned())
}

/// The names of a list that count for an architecture.
fn names<'a>(text: &'a str, arch: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        match (words.next(), words.next()) {
            (Some(name), None) => Some(name),
            (Some(only), Some(name)) => Some(name).filter(|_| only == arch),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let text = "# all\nread\nwrite # out\n\nx86_64 open\naarch64 openat\n";
        assert_eq!(names(text, "x86_64").collect::<Vec<_>>(), ["read", "write", "open"]);
        assert_eq!(names(text, "aarch64").collect::<Vec<_>>(), ["read", "write", "openat"]);
        for arch in ["x86_64", "aarch64"] {
            assert!(compile(text, arch).unwrap().len() > 3, "{arch}");
        }
        assert!(compile("reed\n", "x86_64").is_err());
        assert!(compile("a\"b\n", "x86_64").is_err());
        assert!(compile("read\n", "mips").is_err());
    }
}
