//! `[proxy]`: the way to registries of container images that the host does not reach by itself.

use std::net::IpAddr;

use crate::address::prefixed;
use crate::names::is_authority;
use crate::table::{Check, table};
use crate::text::{as_text, text_type};

/// The longest address of a proxy, with user and password.
const MAX_URL: usize = 1024;

table! {
    /// Proxies through which images are pulled. Nothing else of the host goes through them.
    #[derive(Default)]
    struct Proxy {
        required {}
        optional {
            /// For registries that are asked in plain HTTP: `http://[USER:PASSWORD@]HOST[:PORT]`, user and password
            /// percent-encoded, port 80 unless given.
            http: Option<ProxyUrl>,
            /// For registries over HTTPS, through CONNECT. It has the same form: the way to the proxy itself is plain HTTP.
            https: Option<ProxyUrl>,
            /// What is reached directly: a host with everything below it (`example.org`), an address, a network
            /// (`10.0.0.0/8`), each host or address also with a port, and `*` for everything. The host itself always is.
            no_proxy: Vec<NoProxy>,
        }
    }
}

text_type!(
    /// A proxy: `http://[USER:PASSWORD@]HOST[:PORT]`. Its text holds the password and must not be shown.
    ProxyUrl(String),
    parse = |text| {
        // What stands before an @ may be a password, and mistakes are shown.
        let shown = if text.contains('@') { "it" } else { text };
        let message = || format!("{shown} is not of the form http://[USER:PASSWORD@]HOST[:PORT], user and password percent-encoded");
        let rest = text.strip_prefix("http://").ok_or_else(message)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, authority) = match rest.rsplit_once('@') {
            Some((user, authority)) => (Some(user), authority),
            None => (None, rest),
        };
        let is_good = is_authority(authority) && user.is_none_or(is_user) && text.len() <= MAX_URL;
        is_good.then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^http://([A-Za-z0-9._~!$&'()*+,;=:%-]+@)?([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?$"
);

text_type!(
    /// What no proxy is asked for.
    NoProxy(String),
    parse = |text| {
        let name = text.strip_prefix("*.").or_else(|| text.strip_prefix('.')).unwrap_or(text);
        let is_named = is_authority(name) && (name == text || !name.starts_with('['));
        let is_good = text == "*" || is_named || text.parse::<IpAddr>().is_ok() || prefixed(text).is_some();
        let message = || format!("{text:?} is not a host, an address or a network such as 10.0.0.0/8, and no host or address with :PORT");
        is_good.then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^(\*|(\*?\.)?[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?|[0-9A-Fa-f.:]+(/[0-9]{1,3})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?)$"
);

/// Whether it can stand before the `@` of an address (RFC 3986 section 3.2.1), and names a user.
fn is_user(text: &str) -> bool {
    let is_plain = |part: &str| {
        part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:".contains(&byte))
    };
    let is_code = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    let mut parts = text.split('%');
    let first = parts.next().unwrap_or_default();
    !text.is_empty()
        && !text.starts_with(':')
        && is_plain(first)
        && parts.all(|part| is_code(part) && is_plain(part))
}

impl Check for Proxy {}

as_text!(ProxyUrl, NoProxy);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_proxies() {
        for good in [
            "http://proxy.example",
            "http://proxy.example:3128/",
            "http://192.0.2.1:3128",
            "http://[2001:db8::1]:3128",
            "http://edge:p%40ss@proxy.example:3128",
            "http://edge@proxy.example",
        ] {
            assert!(good.parse::<ProxyUrl>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "proxy.example:3128",
            "https://proxy.example",
            "socks5://proxy.example",
            "http://",
            "http://proxy.example/path",
            "http://proxy.example:0",
            "http://@proxy.example",
            "http://:pass@proxy.example",
            "http://edge:p@ss@proxy.example",
            "http://edge:p%4@proxy.example",
            "http://edge:p%+1@proxy.example",
            "http://edge:p#ss@proxy.example",
        ] {
            let message = bad.parse::<ProxyUrl>().expect_err(bad);
            assert!(!message.contains("ss@"), "{message}");
        }
    }

    #[test]
    fn what_is_direct() {
        for good in [
            "*",
            "localhost",
            "registry.example",
            ".example.org",
            "*.example.org",
            "registry.example:5000",
            "10.0.0.0/8",
            "192.0.2.1",
            "192.0.2.1:5000",
            "2001:db8::1",
            "fd00::/8",
            "[2001:db8::1]:5000",
        ] {
            assert!(good.parse::<NoProxy>().is_ok(), "{good}");
        }
        for bad in ["", "a,b", "a b", "http://a", "*.*", "10.0.0.0/33", "a:0", "a:b", ".", "-a", ".[::1]"] {
            assert!(bad.parse::<NoProxy>().is_err(), "{bad}");
        }
    }
}
