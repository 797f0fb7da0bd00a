//! What the kernel and the C library have of the network: addresses, routes, name servers, host name. It only looks.

use std::collections::BTreeSet;
use std::fs;

/// One line for each thing; columns that count or age are left out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostNetwork(BTreeSet<String>);

impl HostNetwork {
    /// Looks.
    pub(crate) fn read() -> Result<Self, String> {
        let mut lines = BTreeSet::new();
        // Fields of these files: Documentation/networking and net/ipv{4,6} of the kernel; proc(5).
        table("/proc/net/route", "route4", &[0, 1, 2, 3, 6, 7], &mut lines)?;
        table("/proc/net/if_inet6", "address6", &[0, 2, 3, 4, 5], &mut lines)?;
        table("/proc/net/ipv6_route", "route6", &[0, 1, 4, 5, 9], &mut lines)?;
        let trie = read("/proc/net/fib_trie")?;
        let mut last = "";
        for line in trie.lines() {
            if line.contains("/32 host LOCAL") {
                lines.insert(format!("address4 {last}"));
            }
            last = line.trim_start_matches([' ', '|', '-']);
        }
        lines.insert(format!("hostname {}", read("/proc/sys/kernel/hostname")?.trim()));
        // There is none before the first start of the network service.
        lines.insert(format!("resolv.conf {:?}", fs::read_to_string("/etc/resolv.conf").unwrap_or_default()));
        Ok(Self(lines))
    }

    /// Requires that nothing came or went.
    pub(crate) fn is_still(&self, before: &Self) -> Result<(), String> {
        if self == before {
            return Ok(());
        }
        let gone: Vec<_> = before.0.difference(&self.0).collect();
        let new: Vec<_> = self.0.difference(&before.0).collect();
        Err(format!("the network changed: gone {gone:?}, new {new:?}"))
    }
}

/// Takes these columns of a table.
fn table(path: &str, kind: &str, columns: &[usize], lines: &mut BTreeSet<String>) -> Result<(), String> {
    for line in read(path)?.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let kept: Vec<&str> = columns.iter().filter_map(|column| words.get(*column).copied()).collect();
        lines.insert(format!("{kind} {}", kept.join(" ")));
    }
    Ok(())
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))
}
