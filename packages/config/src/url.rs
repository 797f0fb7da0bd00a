//! URLs (RFC 3986) of machine configs: `http` and `https`, with credentials and the digest of what they lead to.
//!
//! Shown to people they lose what may be secret: credentials and query.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the fragment of a URL begins with when it names a digest; fragments are never sent to a server.
const PIN: &str = "sha256=";

/// Why a text is no URL that can be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Another scheme.
    #[error("it begins with neither http:// nor https://")]
    Scheme,
    /// No host, or a bad one.
    #[error("its host is missing or has bad characters")]
    Host,
    /// A port that is none.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// Blanks, control characters, or letters beyond ASCII.
    #[error("it has characters that must be percent-encoded")]
    Characters,
    /// A fragment that is no digest.
    #[error("behind # there is not sha256= with 64 hexadecimal digits")]
    Pin,
}

/// Where a config is, and what it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where.
    pub url: Url,
    /// Its SHA-256 digest.
    pub sha256: Option<[u8; 32]>,
}

/// One URL, without fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether TLS is spoken.
    pub is_tls: bool,
    /// A name or an address; IPv6 addresses without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// Path and query, as they are sent.
    pub target: String,
    /// The value of an `Authorization` header (RFC 7617).
    pub authorization: Option<String>,
}

impl Wanted {
    /// Reads a URL whose fragment may name a digest: `http://192.0.2.1/edge-1.toml#sha256=…`.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        let text = text.trim();
        let (text, fragment) = text.split_once('#').map_or((text, None), |(url, pin)| (url, Some(pin)));
        let sha256 = match fragment {
            None | Some("") => None,
            Some(pin) => Some(pin.strip_prefix(PIN).and_then(digest).ok_or(UrlError::Pin)?),
        };
        Ok(Self { url: Url::parse(text)?, sha256 })
    }
}

impl Url {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(UrlError::Characters);
        }
        let (is_tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(UrlError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, place) =
            authority.rsplit_once('@').map_or((None, authority), |(user, place)| (Some(user), place));
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| UrlError::Host)?;
                (host, port)
            }
            None => place.split_at(place.find(':').unwrap_or(place.len())),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(plain) {
            return Err(UrlError::Host);
        }
        let port = match port {
            "" | ":" if is_tls => 443,
            "" | ":" => 80,
            port => {
                let number = port.strip_prefix(':').and_then(|port| port.parse().ok());
                number.filter(|port| *port > 0).ok_or(UrlError::Port)?
            }
        };
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let authorization = credentials.map(|text| format!("Basic {}", STANDARD.encode(decoded(text))));
        Ok(Self { is_tls, host: host.to_owned(), port, target, authorization })
    }

    /// Where a `Location` header leads from here. Credentials stay with their server.
    pub fn redirected(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.split('#').next().unwrap_or_default().trim();
        let base = format!("{}://{}", self.scheme(), self.authority());
        let mut next = if location.contains("://") {
            Self::parse(location)?
        } else if let Some(rest) = location.strip_prefix("//") {
            Self::parse(&format!("{}://{rest}", self.scheme()))?
        } else if location.starts_with('/') {
            Self::parse(&format!("{base}{location}"))?
        } else {
            let path = self.path();
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Self::parse(&format!("{base}{folder}/{location}"))?
        };
        if next.authorization.is_none()
            && (next.is_tls, &next.host, next.port) == (self.is_tls, &self.host, self.port)
        {
            next.authorization.clone_from(&self.authorization);
        }
        Ok(next)
    }

    /// Host and port as a `Host` header has them: the usual port is left out.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (false, 80) | (true, 443) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }

    fn scheme(&self) -> &'static str {
        if self.is_tls { "https" } else { "http" }
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority(), self.path())
    }
}

/// Undoes percent encoding; a percent sign that encodes nothing stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let pair = tail.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        match (first, pair.and_then(|pair| u8::from_str_radix(pair, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

fn digest(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, place) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(place..place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Wanted::parse(text).unwrap().url
    }

    #[test]
    fn good_urls() {
        for (text, shown, target) in [
            ("http://192.0.2.1", "http://192.0.2.1/", "/"),
            ("http://192.0.2.1:8080/a/b.toml?k=v", "http://192.0.2.1:8080/a/b.toml", "/a/b.toml?k=v"),
            ("https://[2001:db8::1]/c", "https://[2001:db8::1]/c", "/c"),
            ("https://boot.example:443?host=1\n", "https://boot.example/", "/?host=1"),
        ] {
            let url = url(text);
            assert_eq!((url.to_string().as_str(), url.target.as_str()), (shown, target));
        }
        let secret = url("http://edge:p%40ss@boot.example/c");
        assert_eq!(secret.authorization.as_deref(), Some("Basic ZWRnZTpwQHNz"));
        assert_eq!(secret.to_string(), "http://boot.example/c");
    }

    #[test]
    fn bad_urls() {
        for (text, error) in [
            ("ftp://192.0.2.1/", UrlError::Scheme),
            ("http://", UrlError::Host),
            ("http:///x", UrlError::Host),
            ("http://[2001:db8::1/x", UrlError::Host),
            ("http://[192.0.2.1]/x", UrlError::Host),
            ("http://a b/", UrlError::Characters),
            ("http://a/\u{e9}", UrlError::Characters),
            ("http://a/x\r\nHost: b", UrlError::Characters),
            ("http://a:0/", UrlError::Port),
            ("http://a:99999/", UrlError::Port),
            ("http://a:x/", UrlError::Port),
            ("http://a/#md5=1", UrlError::Pin),
            ("http://a/#sha256=12", UrlError::Pin),
        ] {
            assert_eq!(Wanted::parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn a_pin_is_no_part_of_the_url() {
        let pin = "0102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F20";
        let wanted = Wanted::parse(&format!("http://a/c#sha256={pin}")).unwrap();
        assert_eq!(wanted.sha256.unwrap()[..3], [1, 2, 3]);
        assert_eq!(wanted.url.target, "/c");
    }

    #[test]
    fn redirects() {
        let from = url("http://user:x@a/dir/one?q");
        for (location, to) in [
            ("two", "http://a/dir/two"),
            ("/two#part", "http://a/two"),
            ("//b/two", "http://b/two"),
            ("https://a/two", "https://a/two"),
        ] {
            assert_eq!(from.redirected(location).unwrap().to_string(), to);
        }
        assert!(from.redirected("/two").unwrap().authorization.is_some());
        assert!(from.redirected("http://b/").unwrap().authorization.is_none());
        assert!(from.redirected("https://a/").unwrap().authorization.is_none());
        assert!(from.redirected("file:///etc/passwd").is_err());
    }
}
