//! Names of hosts, domains and network links.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use crate::address::Mac;
use crate::text::{as_text, text_type};

/// `__NEW_UTS_LEN`: the kernel refuses longer host names.
const MAX_HOSTNAME: usize = 64;
/// RFC 1035 section 2.3.4, in text form.
const MAX_DOMAIN: usize = 253;
/// `IFNAMSIZ` without the final NUL.
const MAX_LINK_NAME: usize = 15;

text_type!(
    /// A host name: labels of letters, digits and inner hyphens with dots between them, at most 64 characters (RFC 1123).
    Hostname(String),
    parse = |text| {
        let rule = "use letters, digits and hyphens, with dots between labels, at most 64 characters (RFC 1123)";
        named(text, MAX_HOSTNAME).ok_or_else(|| format!("{text:?} is not a host name: {rule}"))
    },
    pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
);

text_type!(
    /// A domain that names without dots are tried in.
    Domain(String),
    parse = |text| {
        // A final dot is how zone files write a full name.
        let name = text.strip_suffix('.').unwrap_or(text);
        named(name, MAX_DOMAIN).ok_or_else(|| format!("{text:?} is not a domain name"))
    },
    pattern = r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*\.?$"
);

text_type!(
    /// The kernel's name of a network link, at most 15 characters.
    LinkName(String),
    parse = |text| {
        // dev_valid_name() of the kernel, and no wild cards, which mean something in a match.
        let odd = |c: char| c.is_whitespace() || c.is_control() || "/:*?[]".contains(c);
        if text.is_empty() || text.len() > MAX_LINK_NAME || text == "." || text == ".." || text.contains(odd) {
            return Err(format!("{text:?} is not the name of a network link: 1 to 15 characters, no blank, / or :"));
        }
        Ok(text.to_owned())
    },
    pattern = r"^[^\s/:*?\[\]]{1,15}$"
);

text_type!(
    /// A server: a host name or an address.
    Server(String),
    parse = |text| {
        let is_server = text.parse::<IpAddr>().is_ok() || named(text, MAX_DOMAIN).is_some();
        is_server.then(|| text.to_owned()).ok_or_else(|| format!("{text:?} is neither a host name nor an address"))
    },
    pattern = r"^[0-9A-Za-z.:-]+$"
);

/// A network link that is there already: by its kernel's name or its hardware address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// The kernel's name.
    Name(LinkName),
    /// The hardware address.
    Mac(Mac),
}

text_type!(
    /// A network link by name (`eth0`) or hardware address (`52:54:00:12:34:56`).
    LinkRef(LinkId),
    parse = |text| {
        // Names have no colons, so the two cannot be confused.
        if text.contains(':') { text.parse().map(LinkId::Mac) } else { text.parse().map(LinkId::Name) }
    },
    pattern = r"^([^\s/:*?\[\]]{1,15}|([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})$"
);

pub(crate) fn named(text: &str, limit: usize) -> Option<String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= limit && text.split('.').all(is_label)).then(|| text.to_owned())
}

/// Whether it is `HOST[:PORT]`, with brackets around an IPv6 address.
pub(crate) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => named(host, MAX_DOMAIN).is_some(),
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    is_host && port.is_none_or(is_port)
}

as_text!(Hostname, Domain, LinkName, Server);

impl LinkRef {
    /// What names the link.
    pub fn id(&self) -> &LinkId {
        &self.0
    }
}

impl From<LinkName> for LinkRef {
    fn from(name: LinkName) -> Self {
        Self(LinkId::Name(name))
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            LinkId::Name(name) => name.fmt(f),
            LinkId::Mac(mac) => mac.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names() {
        for good in ["a", "edge-1", "Node7.example.org", "3com", &"a".repeat(63)] {
            assert!(good.parse::<Hostname>().is_ok(), "{good}");
        }
        let long = [&"a".repeat(64), &"a.".repeat(33)[..]];
        for bad in ["", "-a", "a-", "a..b", ".a", "a.", "a_b", "a b", "é"].into_iter().chain(long) {
            assert!(bad.parse::<Hostname>().is_err(), "{bad}");
        }
        assert_eq!("example.org.".parse::<Domain>().unwrap().as_str(), "example.org");
    }

    #[test]
    fn links() {
        for good in ["eth0", "enp3s0f1np1", "eth0.5", "é"] {
            assert!(good.parse::<LinkName>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "eth 0", "a/b", "a:b", "eth*", "sixteen-letters0"] {
            assert!(bad.parse::<LinkName>().is_err(), "{bad}");
        }
        assert!(matches!("52:54:00:AB:cd:ef".parse::<LinkRef>().unwrap().id(), LinkId::Mac(_)));
        assert!("52:54".parse::<LinkRef>().is_err());
    }
}
