//! Which hosts a command is for, and as whom. It opens no connection.

use std::fmt;
use std::path::{Path, PathBuf};

use lepton_host_api::roles::Role;
use lepton_host_api::{PORT, SOCKET};
use lepton_keys::Folder;
use lepton_spiffe::{Bundle, SpiffeId, X509Svid};

use crate::contexts::Contexts;
use crate::failure::Failure;
use crate::words::Global;

/// Before the path of a local socket.
const UNIX: &str = "unix:";
/// What the host itself is called in outputs.
const HERE: &str = "localhost";

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// Name or address, and port.
    Tcp(String, u16),
    /// The host's own socket.
    Unix(PathBuf),
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As the user calls it.
    pub(crate) name: String,
    pub(crate) address: Address,
    /// Who it must be; any host of the trust domain when none.
    pub(crate) id: Option<SpiffeId>,
}

/// What is shown to hosts, and what hosts must show.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) own: X509Svid,
    pub(crate) hosts: Bundle,
}

/// The hosts of a command, one at least.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) list: Vec<Target>,
    /// None when all are local sockets.
    pub(crate) access: Option<Access>,
}

/// Whether a command is for the host that it runs on, and no keys are needed.
pub(crate) fn is_here(global: &Global, contexts: &Contexts) -> bool {
    global.hosts.is_none() && global.context.is_none() && global.keys.is_none() && contexts.current.is_none()
}

impl Targets {
    /// The hosts that are named, or those of the context, or this one.
    pub(crate) fn choose(global: &Global, contexts: &Contexts) -> Result<Self, Failure> {
        if is_here(global, contexts) {
            if !Path::new(SOCKET).exists() {
                let why =
                    "no host runs here; name hosts with -n, or make a context (lepton help context add)";
                return Err(Failure::Unreachable { to: SOCKET.to_owned(), why: why.to_owned() });
            }
            let target = Target { name: HERE.to_owned(), address: Address::Unix(SOCKET.into()), id: None };
            return Ok(Self { list: vec![target], access: None });
        }
        let context = contexts.choose(global.context.as_deref())?;
        let names = match (&global.hosts, context) {
            (Some(names), _) => names.as_slice(),
            (None, Some(context)) => context.hosts.as_slice(),
            (None, None) => &[],
        };
        if names.is_empty() {
            return Err(Failure::Usage(
                "name hosts with -n, or give the context some (lepton help context add)".to_owned(),
            ));
        }
        let mut list = Vec::new();
        for name in names {
            let id = context.and_then(|context| context.host_ids.get(name));
            let id = id.map(|text| text.parse().map_err(|source| Failure::Id { text: text.clone(), source }));
            let target = Target { name: name.clone(), address: address(name)?, id: id.transpose()? };
            if !list.contains(&target) {
                list.push(target);
            }
        }
        if list.iter().all(|target| matches!(target.address, Address::Unix(_))) {
            return Ok(Self { list, access: None });
        }
        let keys = global.keys.clone().or_else(|| context.map(|context| context.keys.clone()));
        let keys = keys.ok_or_else(|| {
            Failure::Usage("no keys: give --keys DIR, or make a context (lepton help context add)".to_owned())
        })?;
        let role = global.role.or_else(|| context.and_then(|context| context.role));
        Ok(Self { list, access: Some(access(&Folder::at(keys), role)?) })
    }
}

/// The certificate of that role, or of the greatest that is there.
fn access(folder: &Folder, role: Option<Role>) -> Result<Access, Failure> {
    let there = || Role::ALL.into_iter().rev().find(|role| folder.identity_path(*role).exists());
    let role = role.or_else(there).ok_or_else(|| {
        let path = folder.path().display();
        Failure::Usage(format!("no certificate in {path}: lepton keys issue --role reader {path} makes one"))
    })?;
    Ok(Access { own: folder.identity(role)?.svid, hosts: folder.bundle()? })
}

/// The address of `NAME`, `NAME:PORT`, `[ADDRESS]:PORT`, an IPv6 address alone, or `unix:PATH`.
fn address(text: &str) -> Result<Address, Failure> {
    if let Some(path) = text.strip_prefix(UNIX) {
        return Ok(Address::Unix(path.into()));
    }
    let wrong =
        || Failure::Usage(format!("{text:?} is no host: write NAME, NAME:PORT, [ADDRESS]:PORT or unix:PATH"));
    let is_v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
    if is_v6(text) {
        return Ok(Address::Tcp(text.to_owned(), PORT));
    }
    let (name, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((inner, port))) if is_v6(inner) => (inner, port),
        Some(_) => return Err(wrong()),
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?,
        None if port.is_empty() => PORT,
        None => return Err(wrong()),
    };
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_good) {
        return Err(wrong());
    }
    Ok(Address::Tcp(name.to_owned(), port))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, shown) in [
            ("edge-1", "edge-1:7443"),
            ("edge-1:80", "edge-1:80"),
            ("192.0.2.10", "192.0.2.10:7443"),
            ("2001:db8::1", "[2001:db8::1]:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
            ("[::1]:65535", "[::1]:65535"),
            ("unix:/run/api.sock", "/run/api.sock"),
        ] {
            assert_eq!(address(text).unwrap().to_string(), shown);
        }
        for bad in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:b",
            "a:1:2",
            "[::1",
            "[::1]80",
            "[a]:80",
            "a b",
            "a/b",
            "https://a",
        ] {
            assert!(matches!(address(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
