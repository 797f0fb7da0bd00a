//! Kernel settings of a container host, as one table with a reason per row.
//!
//! `kernel.panic` is not here: the kernel command line decides it, for the kernel and for PID 1.
//! Settings of network interfaces are not here either: they belong to the network service.

use std::{fs, io};

use crate::kmsg;
use crate::mounts::Need::{self, Optional, Required};
use crate::ready::MemInfo;
use crate::step::{Failure, chain};

/// Settings in the order they are written: key, value, and what a failure means.
pub const TABLE: &[(&str, &str, Need)] = &[
    // Kernel addresses help to exploit a kernel bug; nothing in the image needs them.
    ("kernel.kptr_restrict", "2", Required),
    // The kernel log holds addresses and host details that containers must not read.
    ("kernel.dmesg_restrict", "1", Required),
    // The BPF verifier is a large target; 1 cannot be undone before the next boot.
    ("kernel.unprivileged_bpf_disabled", "1", Required),
    // Links, FIFOs and files planted in shared sticky directories: off in the kernel, on in every distribution.
    ("fs.protected_symlinks", "1", Required),
    ("fs.protected_hardlinks", "1", Required),
    ("fs.protected_fifos", "2", Required),
    ("fs.protected_regular", "2", Required),
    // An oops leaves locks held and data half written: restart instead of going on.
    ("kernel.panic_on_oops", "1", Required),
    // Containers reserve far more than they touch; kubelet expects this value.
    ("vm.overcommit_memory", "1", Optional),
    // Databases and search engines in containers map many files; the kernel allows 65530 maps.
    ("vm.max_map_count", "262144", Optional),
    // Each container and each of its log readers uses inotify; the kernel allows 128 instances per user.
    ("fs.inotify.max_user_instances", "8192", Optional),
    // The limit for a large host; the kernel's own default is 32768 on small ones.
    ("kernel.pid_max", "4194304", Optional),
    // Each container gets a session keyring of its own; root's quota is the first to run out.
    ("kernel.keys.root_maxkeys", "1000000", Optional),
    ("kernel.keys.root_maxbytes", "25000000", Optional),
];

/// A setting the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("cannot set {key} to {value}")]
pub struct SysctlError {
    key: &'static str,
    value: String,
    source: io::Error,
}

impl Failure for SysctlError {}

/// Writes all settings.
pub fn apply() -> Result<(), SysctlError> {
    for (key, value, need) in TABLE {
        write(key, value, *need)?;
    }
    match MemInfo::read() {
        Some(memory) => write("vm.min_free_kbytes", &min_free_kb(memory.total_kb).to_string(), Optional),
        None => {
            kmsg::warn("vm.min_free_kbytes stays as it is: the size of memory is unknown");
            Ok(())
        }
    }
}

fn write(key: &'static str, value: &str, need: Need) -> Result<(), SysctlError> {
    let Err(source) = fs::write(path(key), value) else { return Ok(()) };
    let error = SysctlError { key, value: value.to_owned(), source };
    match need {
        Required => Err(error),
        Optional => {
            kmsg::warn(&chain(&error));
            Ok(())
        }
    }
}

fn path(key: &str) -> String {
    format!("/proc/sys/{}", key.replace('.', "/"))
}

/// The memory kept free for allocations that cannot wait, such as network buffers.
///
/// khugepaged raises the kernel's own figure to as much as 5 % of memory (45 MiB on a host of 1 GiB) so that
/// huge pages are easy to find, and containers of a small host lose that. 1/128 of memory, at least 4 MiB and
/// at most 64 MiB, is more than the kernel keeps without huge pages; where that formula gives more (above
/// 256 GiB of memory), it holds.
fn min_free_kb(total_kb: u64) -> u64 {
    let without_huge_pages = (4 * total_kb.isqrt()).min(256 << 10);
    (total_kb / 128).clamp(4 << 10, 64 << 10).max(without_huge_pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_unique_and_become_paths() {
        let mut keys: Vec<_> = TABLE.iter().map(|(key, ..)| key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), TABLE.len());
        assert_eq!(path("fs.inotify.max_user_instances"), "/proc/sys/fs/inotify/max_user_instances");
    }

    #[test]
    fn free_memory_grows_with_memory_within_bounds() {
        for (total_kb, expected) in [
            (0, 4096),
            (487_288, 4096),
            (1 << 20, 8192),
            (4 << 20, 32768),
            (64 << 20, 65536),
            (1 << 30, 131_072),
        ] {
            assert_eq!(min_free_kb(total_kb), expected, "{total_kb}");
        }
    }
}
