//! Whether a process is the host's own or a container's. A container's process never passes as the host's: users, paths
//! and names mean other things in there.

use std::io;

use crate::host::{Host, Namespace};

/// Cgroups of containers in the layout of the runtime and of kubelet, and of what starts containers.
const CONTAINERS: [&str; 3] = ["/kubepods", "/pods", "/runtime-shims"];
/// Cgroups of PID 1's services.
pub(crate) const SERVICES: &str = "/lepton";

/// Where a process comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is a process of the host, in this cgroup.
    Host {
        /// From the root of the hierarchy.
        cgroup: String,
    },
    /// It is a process of a container, or one that is shut off like it.
    Container {
        /// From the root of the hierarchy.
        cgroup: String,
    },
}

/// Why that is not known. Such a process gets nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OriginError {
    /// It cannot be read.
    #[error("cannot read where the process comes from")]
    Read(#[from] io::Error),
    /// It is in none, or the kernel does not say in which.
    #[error("the process is in no cgroup that can be named: {0:?}")]
    Cgroup(Option<String>),
}

impl Origin {
    /// Its cgroup.
    pub fn cgroup(&self) -> &str {
        match self {
            Self::Host { cgroup } | Self::Container { cgroup } => cgroup,
        }
    }

    /// Where the process of that number comes from.
    pub(crate) fn of(host: &Host, pid: u32) -> Result<Self, OriginError> {
        let cgroup = host.cgroup(pid)?;
        let Some(cgroup) = cgroup.as_deref().filter(|path| is_plain(path)) else {
            return Err(OriginError::Cgroup(cgroup));
        };
        let cgroup = cgroup.to_owned();
        let is_own = |kind| Ok::<_, io::Error>(host.namespace(pid, kind)? == host.own_namespace(kind)?);
        if CONTAINERS.iter().any(|top| is_below(&cgroup, top))
            || !is_own(Namespace::Pid)?
            || !is_own(Namespace::User)?
        {
            return Ok(Self::Container { cgroup });
        }
        // PID 1 gives services mounts of their own; it is the only one whose word counts for that.
        if is_below(&cgroup, SERVICES) || is_own(Namespace::Mount)? {
            return Ok(Self::Host { cgroup });
        }
        Ok(Self::Container { cgroup })
    }
}

/// A path from the root without tricks: one outside of what can be seen from here begins with `/..`, and that of a removed
/// cgroup ends in a remark.
pub(crate) fn is_plain(path: &str) -> bool {
    path.starts_with('/')
        && !path.ends_with(" (deleted)")
        && !path.split('/').any(|part| part == ".." || part == ".")
}

/// Whether a cgroup is that one or below it.
pub(crate) fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The service whose cgroup, or one below it, that is.
pub(crate) fn service_of(cgroup: &str) -> Option<&str> {
    let rest = cgroup.strip_prefix(SERVICES)?.strip_prefix('/')?;
    rest.split('/').next().filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, is) in [
            ("/", true),
            ("/lepton/a", true),
            ("/../a", false),
            ("a", false),
            ("", false),
            ("/a (deleted)", false),
        ] {
            assert_eq!(is_plain(path), is, "{path}");
        }
        assert!(is_below("/pods", "/pods") && is_below("/pods/a", "/pods") && !is_below("/podsa", "/pods"));
        for (path, name) in [
            ("/lepton/web", Some("web")),
            ("/lepton/web/below", Some("web")),
            ("/lepton", None),
            ("/lepton/", None),
            ("/leptonweb", None),
            ("/a/lepton/web", None),
        ] {
            assert_eq!(service_of(path), name, "{path}");
        }
    }
}
