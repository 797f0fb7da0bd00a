//! Cgroups (version 2) of services and containers, and what they have used. It only reads.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::procfs;

/// Cgroup of PID 1's services, and those of pods: kubelet's, and of those that name no parent.
const SERVICES: &str = "lepton";
const PODS: [&str; 2] = ["kubepods", "pods"];
/// A container's cgroup has its ID for a name: 32 bytes in hexadecimal.
const ID: usize = 64;
/// `burstable/podUID/ID`.
const DEEPEST: usize = 3;

/// What a cgroup is of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unit {
    /// A service, by its name.
    Service(String),
    /// A container, by its ID.
    Container(String),
}

/// What it has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_us: u64,
    pub(crate) memory: Option<u64>,
    pub(crate) memory_max: Option<u64>,
    pub(crate) tasks: Option<u64>,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// All services and containers below the root of the hierarchy.
pub(crate) fn units(root: &Path) -> Vec<(Unit, Usage)> {
    let mut units = Vec::new();
    for folder in folders(&root.join(SERVICES), 1) {
        if let Some(name) = folder.file_name().and_then(|name| name.to_str()) {
            units.extend(usage(&folder).map(|usage| (Unit::Service(name.to_owned()), usage)));
        }
    }
    for top in PODS {
        let top = root.join(top);
        for folder in folders(&top, DEEPEST) {
            let id = folder.strip_prefix(&top).ok().and_then(container).map(str::to_owned);
            if let Some(id) = id {
                units.extend(usage(&folder).map(|usage| (Unit::Container(id), usage)));
            }
        }
    }
    units
}

fn folders(top: &Path, depth: usize) -> impl Iterator<Item = PathBuf> {
    let found = WalkDir::new(top).min_depth(1).max_depth(depth).sort_by_file_name().into_iter();
    // Cgroups come and go while they are looked at.
    found.filter_map(Result::ok).filter(|entry| entry.file_type().is_dir()).map(walkdir::DirEntry::into_path)
}

/// The container whose cgroup that is, of a path below one of [`PODS`]: `SANDBOX/ID`, `podUID/ID` or `burstable/podUID/ID`.
fn container(path: &Path) -> Option<&str> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    match parts[..] {
        [pod, id] if is_id(id) && (is_id(pod) || pod.starts_with("pod")) => Some(id),
        [_, pod, id] if is_id(id) && pod.starts_with("pod") => Some(id),
        _ => None,
    }
}

fn is_id(name: &str) -> bool {
    name.len() == ID && name.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f'))
}

/// Nothing when the cgroup has gone.
fn usage(folder: &Path) -> Option<Usage> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |name: &str| read(name)?.trim().parse().ok();
    let cpu_us = procfs::field(&read("cpu.stat")?, "usage_usec")?;
    let (bytes_read, bytes_written) = read("io.stat").map_or((0, 0), |text| procfs::io(&text));
    Some(Usage {
        cpu_us,
        memory: number("memory.current"),
        // `max` is no number: there is no bound.
        memory_max: number("memory.max"),
        tasks: number("pids.current"),
        read: bytes_read,
        written: bytes_written,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_containers() {
        let root = tempfile::tempdir().unwrap();
        let id = |digit: &str| digit.repeat(ID);
        let make = |path: &str| {
            let folder = root.path().join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("cpu.stat"), "usage_usec 5\n").unwrap();
            fs::write(folder.join("memory.max"), "max\n").unwrap();
            fs::write(folder.join("io.stat"), "8:0 rbytes=1 wbytes=2\n").unwrap();
        };
        make("lepton/web/below");
        make("lepton/web");
        make("lepton/db");
        make(&format!("kubepods/burstable/podu1/{}", id("a")));
        make(&format!("kubepods/podu2/{}", id("b")));
        make(&format!("pods/{}/{}", id("c"), id("d")));
        make(&format!("pods/{}/{}/{}", id("c"), id("d"), id("e")));
        make(&format!("other/{}", id("e")));
        let found: Vec<Unit> = units(root.path()).into_iter().map(|(unit, _)| unit).collect();
        let container = |digit| Unit::Container(id(digit));
        let want = [
            Unit::Service("db".into()),
            Unit::Service("web".into()),
            container("a"),
            container("b"),
            container("d"),
        ];
        assert_eq!(found, want);
        let (_, usage) = units(root.path()).remove(0);
        assert_eq!(usage, Usage { cpu_us: 5, read: 1, written: 2, ..Usage::default() });
    }
}
