//! What kubelet's configuration depends on and only the host knows.

use std::fs;
use std::thread::available_parallelism;

/// The host as this program finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    pub(crate) cpus: u32,
    pub(crate) memory_mib: u64,
    /// Whether the kernel's settings are those that kubelet insists on.
    pub(crate) has_kernel_defaults: bool,
    pub(crate) has_ipv6: bool,
}

/// Settings that kubelet would otherwise change (its `protectKernelDefaults`).
const KERNEL: [(&str, &str); 6] = [
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/keys/root_maxbytes", "25000000"),
];

impl Host {
    /// Looks.
    pub(crate) fn look() -> Self {
        let is_so = |&(key, value): &(&str, &str)| {
            fs::read_to_string(format!("/proc/sys/{key}")).is_ok_and(|text| text.trim() == value)
        };
        Self {
            cpus: available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX)),
            memory_mib: rustix::system::sysinfo().totalram as u64 >> 20,
            has_kernel_defaults: KERNEL.iter().all(is_so),
            has_ipv6: fs::metadata("/proc/net/if_inet6").is_ok(),
        }
    }
}

/// The kernel's name of the host, in lower case as Kubernetes has it.
pub(crate) fn name() -> String {
    rustix::system::uname().nodename().to_string_lossy().to_lowercase()
}
