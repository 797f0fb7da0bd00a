//! Capabilities of containers: the usual ones, what CRI adds and drops, and what the kernel has at all.

use std::collections::BTreeSet;

use lepton_cri::v1::Capability;

use crate::error::{Failure, Result};

/// What a container has when nothing is said: the list of moby and containerd.
const DEFAULT: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
];

/// All capabilities of Linux 5.9 and later, by number.
const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// The sets of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sets {
    /// What it and its descendants can have.
    pub(super) bounding: Vec<String>,
    /// What a program without file capabilities gets though it is not root.
    pub(super) ambient: Vec<String>,
}

/// The sets for what is asked for.
pub(super) fn sets(wanted: Option<&Capability>, privileged: bool) -> Result<Sets> {
    if privileged {
        return Ok(Sets { bounding: ours().map(str::to_owned).collect(), ambient: Vec::new() });
    }
    let wanted = wanted.cloned().unwrap_or_default();
    let mut set: BTreeSet<String> = DEFAULT.map(str::to_owned).into();
    if is_all(&wanted.drop_capabilities) {
        set.clear();
    }
    if is_all(&wanted.add_capabilities) {
        set.extend(ours().map(str::to_owned));
    }
    for name in names(&wanted.add_capabilities) {
        set.insert(name?);
    }
    let ambient = names(&wanted.add_ambient_capabilities).collect::<Result<Vec<_>>>()?;
    set.extend(ambient.iter().cloned());
    for name in names(&wanted.drop_capabilities) {
        set.remove(&name?);
    }
    Ok(Sets { bounding: set.into_iter().collect(), ambient })
}

fn is_all(names: &[String]) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case("ALL"))
}

/// The names but `ALL`, in the kernel's spelling.
fn names(names: &[String]) -> impl Iterator<Item = Result<String>> {
    names.iter().filter(|name| !name.eq_ignore_ascii_case("ALL")).map(|name| {
        let upper = name.to_ascii_uppercase();
        let upper = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
        let known = ALL.contains(&upper.as_str());
        if known { Ok(upper) } else { Err(Failure::invalid(format!("there is no capability {name:?}"))) }
    })
}

/// What this process can give: a runtime that lacks one cannot pass it on.
fn ours() -> impl Iterator<Item = &'static str> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bits =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapBnd:")?.trim(), 16).ok());
    let bits = bits.unwrap_or(u64::MAX);
    ALL.into_iter().enumerate().filter(move |(number, _)| bits >> number & 1 == 1).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(add: &[&str], drop: &[&str]) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let capability = Capability {
            add_capabilities: words(add),
            drop_capabilities: words(drop),
            ..Capability::default()
        };
        sets(Some(&capability), false).map(|sets| sets.bounding)
    }

    #[test]
    fn added_and_dropped() {
        assert_eq!(wanted(&[], &[]).unwrap().len(), DEFAULT.len());
        assert_eq!(wanted(&["net_admin"], &["ALL"]).unwrap(), ["CAP_NET_ADMIN"]);
        assert!(!wanted(&["ALL"], &["CAP_CHOWN"]).unwrap().contains(&"CAP_CHOWN".to_owned()));
        assert!(wanted(&["CAP_FLY"], &[]).is_err());
    }
}
