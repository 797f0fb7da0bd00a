//! What a container gets of its host, as people write it: ports `80:8080/udp`, paths `/var/web:/srv:ro`; and its user.
//!
//! Only the texts and their rules; the types mean the same in the machine config and on the command line.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Protocol of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that leads to one of a container: `[ADDRESS:]HOST:CONTAINER[/PROTOCOL]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The host's address; every one unless given.
    pub address: Option<IpAddr>,
    /// The host's port.
    pub host: u16,
    /// The container's port.
    pub container: u16,
    /// TCP unless given.
    pub protocol: Protocol,
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no port mapping such as \"80:8080\" or \"192.0.2.1:53:53/udp\"");
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((ports, "sctp")) => (ports, Protocol::Sctp),
            Some(_) => return Err(wrong()),
        };
        let (rest, container) = ports.rsplit_once(':').ok_or_else(wrong)?;
        let (address, host) = match rest.rsplit_once(':') {
            None => (None, rest),
            // An IPv6 address stands in brackets, as in a URL.
            Some((address, host)) => {
                let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']'));
                let parsed: IpAddr = bare.unwrap_or(address).parse().map_err(|_| wrong())?;
                if parsed.is_ipv6() != bare.is_some() {
                    return Err(wrong());
                }
                (Some(parsed), host)
            }
        };
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| *port != 0 && digits).ok_or_else(wrong)
        };
        Ok(Self { address, host: port(host)?, container: port(container)?, protocol })
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V4(address)) => write!(f, "{address}:")?,
            Some(IpAddr::V6(address)) => write!(f, "[{address}]:")?,
            None => {}
        }
        write!(f, "{}:{}", self.host, self.container)?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
            Protocol::Sctp => f.write_str("/sctp"),
        }
    }
}

/// A path of the host that a container sees: `HOST:CONTAINER[:ro|:rw]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The host's path.
    pub host: String,
    /// Where the container sees it.
    pub container: String,
    /// Whether the container cannot change it.
    pub read_only: bool,
}

impl FromStr for Bind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no mount such as \"/var/web:/srv\" or \"/var/web:/srv:ro\", with absolute paths"
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (host, container, read_only) = match parts[..] {
            [host, container] | [host, container, "rw"] => (host, container, false),
            [host, container, "ro"] => (host, container, true),
            _ => return Err(wrong()),
        };
        let is_path = |path: &str| {
            path.starts_with('/') && !path.contains('\0') && !path.split('/').any(|part| part == "..")
        };
        // The root of a container comes from its image.
        if !is_path(host) || !is_path(container) || container.trim_matches('/').is_empty() {
            return Err(wrong());
        }
        Ok(Self { host: host.to_owned(), container: container.to_owned(), read_only })
    }
}

/// Who a program in a container is: `NAME` or `NUMBER`, and `:GROUP`, which is a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// A name of the image's /etc/passwd, or a number.
    pub user: String,
    /// The group; that of the user unless given.
    pub group: Option<u32>,
}

impl User {
    /// The user's number, unless it is a name.
    pub fn number(&self) -> Option<u32> {
        self.user.parse().ok()
    }
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no user such as \"web\", \"1000\" or \"1000:1000\"");
        let (user, group) = match text.split_once(':') {
            None => (text, None),
            Some((user, group)) => (user, Some(group.parse().map_err(|_| wrong())?)),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if user.is_empty() || !user.chars().all(plain) {
            return Err(wrong());
        }
        Ok(Self { user: user.to_owned(), group })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        let port = |text: &str| text.parse::<Port>().unwrap();
        let plain = Port { address: None, host: 80, container: 8080, protocol: Protocol::Tcp };
        assert_eq!((port("80:8080"), port("80:8080/tcp")), (plain, plain));
        assert_eq!(port("53:53/udp").protocol, Protocol::Udp);
        for text in ["80:8080", "192.0.2.1:53:53/udp", "[2001:db8::1]:1:2/sctp"] {
            assert_eq!(port(text).to_string(), text);
        }
        assert_eq!(port("192.0.2.1:1:2/sctp").address, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(port("[2001:db8::1]:1:2").address, Some("2001:db8::1".parse().unwrap()));
        for bad in [
            "80",
            ":80",
            "80:",
            "0:80",
            "80:+80",
            "65536:1",
            "80:80/icmp",
            "x:80:80",
            "2001:db8::1:1:2",
            "[192.0.2.1]:1:2",
            "",
        ] {
            assert!(bad.parse::<Port>().is_err(), "{bad}");
        }
    }

    #[test]
    fn binds() {
        let bind = |text: &str| text.parse::<Bind>().unwrap();
        assert_eq!(bind("/a:/b"), Bind { host: "/a".into(), container: "/b".into(), read_only: false });
        assert!(bind("/a:/b:ro").read_only && !bind("/a:/b:rw").read_only);
        for bad in ["/a", "a:/b", "/a:b", "/a:/", "/a:/b:x", "/a/../b:/c", "/a:/b/..", "/a:/b:ro:x", ""] {
            assert!(bad.parse::<Bind>().is_err(), "{bad}");
        }
    }

    #[test]
    fn users() {
        let user = |text: &str| text.parse::<User>().unwrap();
        assert_eq!((user("web").number(), user("web").group), (None, None));
        assert_eq!((user("1000:5").number(), user("1000:5").group), (Some(1000), Some(5)));
        for bad in ["", ":1", "a:b", "a b", "a:", "1:-1"] {
            assert!(bad.parse::<User>().is_err(), "{bad}");
        }
    }
}
