//! Who a service is: user, groups and capabilities.
//!
//! A service has exactly the capabilities that its table lists, whoever its user is: they are its bounding set, and as
//! ambient ones they stay when its program is run.

use std::fs;
use std::io;

use lepton_service_spec::{Capability, ServiceSpec};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs,
};

use super::{LaunchError, step};

/// The highest capability that a kernel may have: its sets have 64 bits.
const LAST: u32 = 63;

/// User, groups and capabilities by their numbers.
#[derive(Debug)]
pub(super) struct Identity {
    user: u32,
    group: u32,
    groups: Vec<u32>,
    capabilities: Vec<Capability>,
    no_new_privileges: bool,
}

impl Identity {
    /// Looks names up in /etc/passwd and /etc/group.
    pub(super) fn find(spec: &ServiceSpec) -> Result<Self, LaunchError> {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let group = fs::read_to_string("/etc/group").unwrap_or_default();
        let user = spec.user.as_deref().unwrap_or("0");
        let (user, own_group) =
            step(format!("find user {user:?}"), user_of(&passwd, user).ok_or_else(unknown))?;
        let find =
            |name: &String| step(format!("find group {name:?}"), group_of(&group, name).ok_or_else(unknown));
        let groups = spec.groups.iter().map(find).collect::<Result<_, _>>()?;
        Ok(Self {
            user,
            group: own_group,
            groups,
            capabilities: spec.capabilities.clone(),
            no_new_privileges: spec.no_new_privileges,
        })
    }

    /// Becomes this user, with these groups and capabilities and no others.
    pub(super) fn take(&self) -> Result<(), LaunchError> {
        let kept = self.capabilities.iter().fold(0, |bits, capability| bits | capability.bit());
        let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").ok();
        let last = last.and_then(|text| text.trim().parse().ok()).unwrap_or(LAST).min(LAST);
        for number in 0..=last {
            if kept & (1 << number) == 0 {
                let capability = CapabilitySet::from_bits_retain(1 << number);
                step("drop a capability", remove_capability_from_bounding_set(capability))?;
            }
        }
        // The change of user would take the capabilities away; exec ends this exception.
        step("keep capabilities", set_keep_capabilities(true))?;
        let groups: Vec<Gid> = self.groups.iter().map(|group| Gid::from_raw(*group)).collect();
        step("set groups", setgroups(&groups))?;
        let group = Gid::from_raw(self.group);
        step("set the group", setresgid(group, group, group))?;
        let user = Uid::from_raw(self.user);
        step("set the user", setresuid(user, user, user))?;
        let set = CapabilitySet::from_bits_retain(kept);
        let sets = CapabilitySets { effective: set, permitted: set, inheritable: set };
        step("set capabilities", set_capabilities(None, sets))?;
        for capability in &self.capabilities {
            let capability = CapabilitySet::from_bits_retain(capability.bit());
            step("raise a capability", configure_capability_in_ambient_set(capability, true))?;
        }
        if self.no_new_privileges {
            step("give up new privileges", set_no_new_privs(true))?;
        }
        Ok(())
    }
}

fn unknown() -> io::Error {
    io::Error::other("there is no such name, and it is no number")
}

/// User and group number of a name or number, from lines as in passwd(5).
fn user_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let found = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let number = fields.get(2)?;
        (fields[0] == name || *number == name)
            .then(|| Some((number.parse().ok()?, fields.get(3)?.parse().ok()?)))?
    });
    // A number needs no entry; its group then has the same number.
    found.or_else(|| name.parse().ok().map(|number| (number, number)))
}

/// Group number of a name or number, from lines as in group(5).
fn group_of(group: &str, name: &str) -> Option<u32> {
    let named = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
    });
    named.or_else(|| name.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let passwd = "root:x:0:0:root:/root:/x\nagent:x:100:101::/:/x\nbad:x\n";
        assert_eq!(user_of(passwd, "agent"), Some((100, 101)));
        assert_eq!(user_of(passwd, "100"), Some((100, 101)));
        assert_eq!(user_of(passwd, "7"), Some((7, 7)));
        assert_eq!(user_of("", "0"), Some((0, 0)));
        for bad in ["nobody", "bad", "", "-1"] {
            assert_eq!(user_of(passwd, bad), None, "{bad:?}");
        }
        assert_eq!(group_of("tty:x:5:\nbad\n", "tty"), Some(5));
        assert_eq!(group_of("tty:x:5:\n", "6"), Some(6));
        assert_eq!(group_of("tty:x:5:\nbad\n", "bad"), None);
    }
}
