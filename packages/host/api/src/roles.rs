//! The one table of roles: what each method of the API needs. It must not know how a caller proves its role.
//!
//! A method that is not in the table is nobody's.

use std::fmt;
use std::str::FromStr;

/// What a caller may do; each role may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// May look.
    Reader,
    /// May start and stop services and the host, and take a support bundle.
    Operator,
    /// May do all.
    Admin,
}

/// Whether a method changes something; such calls are in the audit log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It looks.
    Looks,
    /// It changes something, or gives away much at once.
    Changes,
}

/// One method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name in the service.
    pub name: &'static str,
    /// The least role that may call it.
    pub role: Role,
    /// Whether it changes something.
    pub effect: Effect,
}

/// The service, as it is called in the paths of its methods.
pub const SERVICE: &str = "lepton.host.v1.Host";

/// All methods.
pub const METHODS: [Method; 28] = [
    looks("Version"),
    looks("Status"),
    looks("Services"),
    changes("StartService", Role::Operator),
    changes("StopService", Role::Operator),
    changes("RestartService", Role::Operator),
    looks("Events"),
    looks("Logs"),
    looks("Dmesg"),
    looks("Top"),
    looks("Processes"),
    looks("Network"),
    looks("Time"),
    looks("Disks"),
    looks("Mounts"),
    looks("GetConfig"),
    looks("DiffConfig"),
    looks("CheckConfig"),
    changes("ApplyConfig", Role::Admin),
    changes("ConfirmConfig", Role::Admin),
    looks("Pods"),
    looks("Containers"),
    looks("Images"),
    changes("Exec", Role::Admin),
    changes("Reboot", Role::Operator),
    changes("Poweroff", Role::Operator),
    changes("Reset", Role::Admin),
    changes("SupportBundle", Role::Operator),
];

const fn looks(name: &'static str) -> Method {
    Method { name, role: Role::Reader, effect: Effect::Looks }
}

const fn changes(name: &'static str, role: Role) -> Method {
    Method { name, role, effect: Effect::Changes }
}

/// The method of a path of a request: `/lepton.host.v1.Host/Status`.
pub fn method(path: &str) -> Option<&'static Method> {
    let name = path.strip_prefix('/')?.strip_prefix(SERVICE)?.strip_prefix('/')?;
    METHODS.iter().find(|method| method.name == name)
}

impl Role {
    /// From the least to the greatest.
    pub const ALL: [Self; 3] = [Self::Reader, Self::Operator, Self::Admin];

    /// Its name, as SPIFFE IDs end with it: `spiffe://DOMAIN/role/admin`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The path of a SPIFFE ID with this role.
    pub fn path(self) -> String {
        format!("/role/{}", self.name())
    }

    /// The role of a path of a SPIFFE ID: `/role/` and one name, nothing else.
    pub fn of_path(path: &str) -> Option<Self> {
        path.strip_prefix("/role/")?.parse().ok()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no role of this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSuchRole;

impl fmt::Display for NoSuchRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such role; there are admin, operator and reader")
    }
}

impl std::error::Error for NoSuchRole {}

impl FromStr for Role {
    type Err = NoSuchRole;

    fn from_str(name: &str) -> Result<Self, NoSuchRole> {
        Self::ALL.into_iter().find(|role| role.name() == name).ok_or(NoSuchRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_a_role_and_no_other() {
        let proto = include_str!("../proto/lepton/host/v1/host.proto");
        let described = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        let described: Vec<&str> = described.filter_map(|rest| rest.split('(').next()).collect();
        let listed: Vec<&str> = METHODS.iter().map(|method| method.name).collect();
        assert_eq!(described, listed);
    }

    #[test]
    fn paths() {
        assert_eq!(method("/lepton.host.v1.Host/Reset").unwrap().role, Role::Admin);
        for path in [
            "/lepton.host.v1.Host/",
            "lepton.host.v1.Host/Reset",
            "/lepton.host.v1.Host/reset",
            "/x/Reset",
            "",
        ] {
            assert_eq!(method(path), None, "{path}");
        }
    }

    #[test]
    fn roles_of_ids() {
        for role in Role::ALL {
            assert_eq!(Role::of_path(&role.path()), Some(role));
        }
        for path in
            ["/role/", "/role/Admin", "/role/admin/x", "/roles/admin", "role/admin", "/role/admin/", ""]
        {
            assert_eq!(Role::of_path(path), None, "{path}");
        }
        assert!(Role::Reader < Role::Operator && Role::Operator < Role::Admin);
    }
}
