//! `resolv.conf`: names from the network are checked, then written as one file that appears whole.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;

/// The C library asks no more servers than these (`MAXNS` of resolv.h).
const MOST_SERVERS: usize = 3;
/// glibc before 2.26 and Kubernetes take no more domains than this many, and no longer list.
const MOST_DOMAINS: usize = 32;
const LONGEST_SEARCH: usize = 2048;
/// RFC 1035 section 2.3.4.
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// A domain or host name in lower case without its last dot, or nothing when it is none (RFC 1123; underscores are
/// used in domains).
pub fn domain(text: &str) -> Option<String> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        !label.is_empty()
            && label.len() <= LONGEST_LABEL
            && label.bytes().all(is_allowed)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (text.len() <= LONGEST_NAME && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// Domains in the form of DNS messages (RFC 1035 section 3.1) with pointers within `bytes` (RFC 3397). What is no
/// name is left out, and nothing after a malformed one is read.
pub fn labels(bytes: &[u8]) -> Vec<String> {
    let mut names = Vec::new();
    let mut at = 0;
    while at < bytes.len() && names.len() < MOST_DOMAINS {
        let Some((name, next)) = name_at(bytes, at) else { break };
        at = next;
        names.extend(domain(&name));
    }
    names
}

/// A name and where the next one begins.
fn name_at(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    let mut name = String::new();
    let (mut at, mut next) = (start, None);
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((name, next.unwrap_or(at + 1))),
            1..=63 => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                at += 1 + usize::from(length);
            }
            0xc0.. => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*bytes.get(at + 1)?);
                next = next.or(Some(at + 2));
                // Pointers lead backwards only, so that following them ends.
                if target >= at {
                    return None;
                }
                at = target;
            }
            _ => return None,
        }
        if name.len() > LONGEST_NAME {
            return None;
        }
    }
}

/// What goes into the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolv {
    /// Servers, best first. Link-local ones carry their link's name.
    pub servers: Vec<String>,
    /// Domains, best first.
    pub search: Vec<String>,
}

impl Resolv {
    /// Adds servers that are not there yet. `link` is named for link-local addresses.
    pub fn add(&mut self, servers: impl IntoIterator<Item = IpAddr>, link: &str) {
        for server in servers {
            let text = match server {
                IpAddr::V6(address) if address.is_unicast_link_local() => format!("{address}%{link}"),
                other => other.to_string(),
            };
            if !self.servers.contains(&text) {
                self.servers.push(text);
            }
        }
    }

    /// Adds domains that are not there yet.
    pub fn add_search<'a>(&mut self, domains: impl IntoIterator<Item = &'a str>) {
        for domain in domains {
            if !self.search.iter().any(|known| known == domain) {
                self.search.push(domain.to_owned());
            }
        }
    }

    /// The text of the file (resolv.conf(5)).
    pub fn render(&self) -> String {
        let mut text = String::from("# Written by the service network.\n");
        for server in self.servers.iter().take(MOST_SERVERS) {
            writeln!(text, "nameserver {server}").expect("a string takes everything");
        }
        let mut search = String::new();
        for domain in self.search.iter().take(MOST_DOMAINS) {
            if search.len() + domain.len() >= LONGEST_SEARCH {
                break;
            }
            search.push(' ');
            search.push_str(domain);
        }
        if !search.is_empty() {
            writeln!(text, "search{search}").expect("a string takes everything");
        }
        text
    }
}

/// Writes a file so that readers see the old or the new one, and nothing between. An equal file is left alone.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|current| current == text) {
        return Ok(());
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let temporary = path.with_file_name(name);
    fs::write(&temporary, text)?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_none() {
        assert_eq!(domain("Example.ORG."), Some("example.org".to_owned()));
        assert_eq!(domain("_tcp.example"), Some("_tcp.example".to_owned()));
        for text in
            ["", ".", "a..b", "-a", "a-", "a b", "a\nnameserver 192.0.2.66", "ä.example", &"a".repeat(64)]
        {
            assert_eq!(domain(text), None, "{text:?}");
        }
    }

    #[test]
    fn lists_with_pointers() {
        // RFC 3397 section 3: eng.apple.com. and marketing.apple.com., the second by a pointer.
        let bytes = b"\x03eng\x05apple\x03com\x00\x09marketing\xc0\x04";
        assert_eq!(labels(bytes), ["eng.apple.com", "marketing.apple.com"]);
        assert_eq!(labels(b"\x01a\xc0\x00"), [""; 0], "it leads to itself");
        assert_eq!(labels(b"\x01a\xc0\x08\x00\x00\x00\x00\x00"), [""; 0], "it leads forwards");
        assert_eq!(labels(b"\x01a\x00\x05b"), ["a"], "the second is cut short");
    }

    #[test]
    fn hostile_lists_end() {
        let mut random = crate::random::Random::from_seed(3);
        for _ in 0..20_000 {
            let length = random.next_u32() as usize % 300;
            let bytes: Vec<u8> = (0..length).map(|_| random.next_u8()).collect();
            assert!(labels(&bytes).len() <= MOST_DOMAINS);
        }
    }

    #[test]
    fn the_file() {
        let mut resolv = Resolv::default();
        let servers = ["192.0.2.53", "fe80::1", "192.0.2.53", "192.0.2.54", "192.0.2.55"];
        resolv.add(servers.map(|server| server.parse().unwrap()), "eth0");
        resolv.add_search(["example.org", "example.org", "example.net"]);
        expect_test::expect![[r#"
            # Written by the service network.
            nameserver 192.0.2.53
            nameserver fe80::1%eth0
            nameserver 192.0.2.54
            search example.org example.net
        "#]]
        .assert_eq(&resolv.render());
    }

    #[test]
    fn writing_replaces_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        write_whole(&path, "one").unwrap();
        write_whole(&path, "two").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two");
        assert_eq!(walk(dir.path()), 1);
    }

    fn walk(dir: &Path) -> usize {
        #[expect(clippy::disallowed_methods, reason = "the order does not matter for a count")]
        fs::read_dir(dir).unwrap().count()
    }
}
