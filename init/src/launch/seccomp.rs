//! System calls that a service may make: allow-lists of the image, applied as a filter.
//!
//! A list is a text file in [`DIR`]: one name per line, `x86_64 NAME` or `aarch64 NAME` for what only one architecture
//! has, and `#` before remarks. A call that is not on the list fails with `EPERM`.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rustix::io::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

use super::{LaunchError, calls, step};

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
    let number = |name| {
        let number =
            calls::number(name, arch).ok_or_else(|| format!("{name:?} is no system call of {arch}"))?;
        // No conditions: the call is allowed whatever its arguments are.
        Ok((number, Vec::new()))
    };
    let rules = names(text, arch).map(number).collect::<Result<BTreeMap<_, _>, String>>()?;
    if rules.is_empty() {
        return Err("it allows nothing".to_owned());
    }
    let refusal = SeccompAction::Errno(Errno::PERM.raw_os_error().unsigned_abs());
    let filter = SeccompFilter::new(rules, refusal, SeccompAction::Allow, target);
    filter.and_then(BpfProgram::try_from).map_err(|error| error.to_string())
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
        assert!(compile("open\n", "aarch64").is_err(), "a call that only the other architecture has");
        assert!(compile("# nothing\n", "x86_64").is_err());
        assert!(compile("read\n", "mips").is_err());
    }
}
