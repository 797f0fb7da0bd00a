//! Places on the network: `http` and `https` addresses, what a redirect makes of them, and which proxy leads there. Pure.

use std::net::IpAddr;

use crate::config::Proxies;

/// A server: what a connection and its credentials belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) is_tls: bool,
    /// Without the brackets of an IPv6 address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Origin {
    /// `HOST[:PORT]` as the `Host` header has it.
    pub(crate) fn authority(&self) -> String {
        let is_default = self.port == if self.is_tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if is_default { host } else { format!("{host}:{}", self.port) }
    }

    /// `HOST:PORT`, always with the port.
    pub(crate) fn with_port(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// A complete address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) origin: Origin,
    /// Begins with a slash.
    pub(crate) path: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.origin.is_tls { "https" } else { "http" };
        // What comes after `?` can be a secret: storage services sign there.
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{scheme}://{}{path}", self.origin.authority())
    }
}

impl Url {
    /// Reads an absolute address. User names in it are refused: they belong elsewhere.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let is_tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let authority = uri.authority()?;
        if authority.as_str().contains('@') {
            return None;
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match authority.as_str().rsplit_once(':') {
            Some((_, port)) if !port.contains(']') => port.parse().ok().filter(|port| *port > 0)?,
            _ => {
                if is_tls {
                    443
                } else {
                    80
                }
            }
        };
        if host.is_empty() {
            return None;
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Some(Self { origin: Origin { is_tls, host, port }, path })
    }

    /// Where `Location` leads from here.
    pub(crate) fn join(&self, location: &str) -> Option<Self> {
        let at = |path: String| {
            // The path is checked as a part of a complete address.
            path.parse::<http::uri::PathAndQuery>().ok()?;
            Some(Self { origin: self.origin.clone(), path })
        };
        let path = self.path.split('?').next().unwrap_or_default();
        let location = location.split('#').next().unwrap_or_default();
        if location.starts_with("//") {
            let scheme = if self.origin.is_tls { "https" } else { "http" };
            return Self::parse(&format!("{scheme}:{location}"));
        }
        if location.starts_with('/') {
            return at(location.to_owned());
        }
        if location.starts_with('?') {
            return at(format!("{path}{location}"));
        }
        if location.split(['/', '?']).next().is_some_and(|first| first.contains(':')) {
            return Self::parse(location);
        }
        let folder = &path[..=path.rfind('/').unwrap_or(0)];
        at(format!("{folder}{location}"))
    }
}

/// A proxy, and what it wants to know of us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    pub(crate) origin: Origin,
    /// The value of `Proxy-Authorization`.
    pub(crate) authorization: Option<String>,
}

/// The proxy that leads to a server; none when it is reached directly, an error text when the setting is wrong.
pub(crate) fn proxy(proxies: &Proxies, target: &Origin) -> Result<Option<Proxy>, String> {
    let setting = if target.is_tls { &proxies.https } else { &proxies.http };
    let Some(setting) = setting.as_deref().filter(|setting| !setting.is_empty()) else { return Ok(None) };
    if is_direct(&proxies.no, target) {
        return Ok(None);
    }
    let rest = setting.strip_prefix("http://").unwrap_or(setting);
    let (user, place) = match rest.rsplit_once('@') {
        Some((user, place)) => (Some(user), place),
        None => (None, rest),
    };
    let url = (!rest.contains("://")).then(|| Url::parse(&format!("http://{place}"))).flatten();
    let url = url.ok_or("the proxy is not of the form http://[USER:PASSWORD@]HOST[:PORT]".to_owned())?;
    // A user without a password has an empty one (RFC 7617).
    let pair = |user: &str| if user.contains(':') { user.to_owned() } else { format!("{user}:") };
    let authorization = user.map(|user| super::auth::basic(&percent_decoded(&pair(user))));
    Ok(Some(Proxy { origin: url.origin, authorization }))
}

/// Whether `no_proxy` names a server. The host itself is always direct.
fn is_direct(no: &str, target: &Origin) -> bool {
    let address: Option<IpAddr> = target.host.parse().ok();
    if target.host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    no.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        if entry == "*" {
            return true;
        }
        if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address) {
            let network: Option<IpAddr> = network.parse().ok();
            let bits: Option<u32> = bits.parse().ok();
            return network.zip(bits).is_some_and(|(network, bits)| is_within(address, network, bits));
        }
        let (name, port) = match entry.rsplit_once(':') {
            // An IPv6 address has brackets when a port follows.
            Some((name, port)) if !name.contains(':') || name.starts_with('[') && name.ends_with(']') => {
                (name, Some(port.parse::<u16>().ok()))
            }
            _ => (entry, None),
        };
        if port.is_some_and(|port| port != Some(target.port)) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        if name.parse::<IpAddr>().is_ok_and(|named| Some(named) == address) {
            return true;
        }
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        target.host == name || target.host.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'))
    })
}

fn is_within(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    match (address, network) {
        (IpAddr::V4(address), IpAddr::V4(network)) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(network)) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            address.to_bits() & mask == network.to_bits() & mask
        }
        _ => false,
    }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let code = bytes.get(index + 1..index + 3).and_then(|code| std::str::from_utf8(code).ok());
        match code.filter(|_| bytes[index] == b'%').and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                index += 3;
            }
            None => {
                decoded.push(bytes[index]);
                index += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

/// A value within a query or form.
pub(crate) fn percent_encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, wanted: Option<&str>| {
            assert_eq!(
                Url::parse(text).map(|url| format!("{url} {}", url.origin.port)).as_deref(),
                wanted,
                "{text}"
            );
        };
        check("https://x.example", Some("https://x.example/ 443"));
        check("http://X.example:5000/v2/?a=b", Some("http://x.example:5000/v2/ 5000"));
        check("https://[::1]:443/a", Some("https://[::1]/a 443"));
        check("https://[::1]/a", Some("https://[::1]/a 443"));
        for text in [
            "",
            "/a",
            "x.example",
            "ftp://x.example",
            "https://",
            "https://a:b@x.example/",
            "https://x:0/",
            "https://x:99999/",
            "file:///etc/passwd",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn redirects() {
        let from = Url::parse("https://x.example/v2/a/blobs/b?c=d").unwrap();
        let check = |location: &str, wanted: &str| {
            let url = from.join(location).unwrap();
            assert_eq!(format!("{url}|{}", url.path), wanted, "{location}");
        };
        check("/other?q=1", "https://x.example/other|/other?q=1");
        check("next", "https://x.example/v2/a/blobs/next|/v2/a/blobs/next");
        check("?z", "https://x.example/v2/a/blobs/b|/v2/a/blobs/b?z");
        check("//y.example/a#b", "https://y.example/a|/a");
        check("http://y.example:80/a", "http://y.example/a|/a");
        assert_eq!(from.join("javascript:x"), None);
        assert_eq!(from.join("/a b"), None);
    }

    #[test]
    fn proxies() {
        let proxies = Proxies {
            http: Some("proxy.example:3128".into()),
            https: Some("http://us%65r:p%40ss@proxy.example:3129".into()),
            no: "localhost, .in.example,10.0.0.0/8,y.example:5000,[fd00::1],fd01::/16,[fd02::1]:5000,z.example:".into(),
        };
        let check = |url: &str, wanted: Option<u16>| {
            let found = proxy(&proxies, &Url::parse(url).unwrap().origin).unwrap();
            assert_eq!(found.map(|proxy| proxy.origin.port), wanted, "{url}");
        };
        check("http://x.example", Some(3128));
        check("https://x.example", Some(3129));
        for url in [
            "https://in.example",
            "https://a.in.example",
            "http://10.1.2.3",
            "http://127.0.0.1",
            "http://[::1]",
            "http://[fd00::1]",
            "https://y.example:5000",
            "https://[fd01::7]",
            "https://[fd02::1]:5000",
            "http://localhost",
        ] {
            check(url, None);
        }
        for url in [
            "https://login.example",
            "https://y.example",
            "https://[fd02::1]",
            "https://z.example",
            "http://11.0.0.1",
        ] {
            check(url, Some(if url.starts_with("https") { 3129 } else { 3128 }));
        }
        let found = proxy(&proxies, &Url::parse("https://x.example").unwrap().origin).unwrap().unwrap();
        assert_eq!(found.authorization.unwrap(), "Basic dXNlcjpwQHNz");
        let user = Proxies { http: Some("http://us@proxy.example".into()), ..Proxies::default() };
        let found = proxy(&user, &Url::parse("http://x.example").unwrap().origin).unwrap().unwrap();
        assert_eq!(found.authorization.unwrap(), "Basic dXM6");
        let wrong = Proxies { https: Some("socks5://x".into()), ..Proxies::default() };
        assert!(proxy(&wrong, &Url::parse("https://x.example").unwrap().origin).is_err());
    }
}
