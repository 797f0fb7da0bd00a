//! What a cgroup (version 2) has used.

use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::kernel::number;

/// Cgroups of pods: those that kubelet makes, and those of pods without it.
const PODS: [&str; 2] = ["kubepods", "pods"];
/// `burstable/podUID/ID`.
const DEEPEST: usize = 3;
/// A container's cgroup has its ID for a name: 32 bytes in hexadecimal.
const ID: usize = 64;

/// Figures of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_us: Option<u64>,
    pub(crate) memory: Option<u64>,
    pub(crate) memory_max: Option<u64>,
    pub(crate) working_set: Option<u64>,
    pub(crate) tasks: Option<u64>,
    pub(crate) oom_kills: Option<u64>,
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// What the cgroup in that folder has used.
pub(crate) fn usage(folder: &Path) -> Usage {
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let memory = number(&folder.join("memory.current"));
    let idle = keyed(&read("memory.stat"), "inactive_file");
    let io = read("io.stat");
    Usage {
        cpu_us: keyed(&read("cpu.stat"), "usage_usec"),
        memory,
        // `max` is no number: there is no bound.
        memory_max: number(&folder.join("memory.max")),
        working_set: memory.zip(idle).map(|(memory, idle)| memory.saturating_sub(idle)),
        tasks: number(&folder.join("pids.current")),
        oom_kills: keyed(&read("memory.events"), "oom_kill"),
        read: of_devices(&io, "rbytes="),
        written: of_devices(&io, "wbytes="),
    }
}

/// The value of a line `KEY VALUE`.
fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The sum of a word of lines as `259:0 rbytes=1 wbytes=2`.
fn of_devices(text: &str, word: &str) -> u64 {
    let values = text.split_whitespace().filter_map(|it| it.strip_prefix(word)?.parse::<u64>().ok());
    values.fold(0, u64::saturating_add)
}

/// Cgroups of containers by ID, below the root of the hierarchy.
pub(crate) fn containers(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    for top in PODS {
        let entries = WalkDir::new(root.join(top)).min_depth(2).max_depth(DEEPEST).sort_by_file_name();
        // They come and go while they are looked at.
        for entry in entries.into_iter().filter_map(Result::ok).filter(|entry| entry.file_type().is_dir()) {
            let name = entry.file_name().to_str().unwrap_or_default();
            if name.len() == ID && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                found.push((name.to_owned(), entry.path().to_owned()));
            }
        }
    }
    found
}
