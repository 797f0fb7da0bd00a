//! `[route]`: the HTTP router of a host, which brings requests to pods that ask for them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::address::{Prefixed, prefixed};
use crate::field::{Place, Reader};
use crate::names::named;
use crate::table::{Check, table};
use crate::text::{number_type, text_type};

/// RFC 1035 section 2.3.4, in text form.
const MAX_HOST: usize = 253;

table! {
    /// The HTTP router. Pods say which host names they answer for; without any of these keys they are served on port 80.
    #[derive(Default)]
    struct Routing {
        required {}
        optional {
            /// Addresses and ports for plain HTTP. Without this key: `[::]:80`, which takes IPv4, too.
            listen: Vec<ListenAddress>,
            /// Addresses and ports for TLS, where certificates are given. Without this key: `[::]:443`.
            listen_tls: Vec<ListenAddress>,
            /// Certificates by host name. The first one also answers clients that name no host or another one.
            certificates: Vec<RouteCertificate>,
            /// Whether plain requests for a host with a certificate are sent to HTTPS (status 308). Without this key: no.
            redirect_https: Option<bool>,
            /// Networks of proxies in front of the host, whose `X-Forwarded-` headers and `Forwarded` are kept and added to.
            /// Those of all others are replaced.
            trusted_proxies: Vec<ProxyNetwork>,
            /// Seconds that an instance has for the head of its response. Without this key: 60.
            response_timeout_s: Option<ResponseTimeout>,
        }
    }
}

table! {
    /// A certificate of the router.
    struct RouteCertificate {
        required {
            /// Host names that it is for; `*.example.com` stands for one label.
            hosts: Vec<RouteHost>,
            /// The certificate and those that lead to a root, in PEM, its own first.
            chain: PemText,
            /// Its private key in PEM (PKCS#8, PKCS#1 or SEC 1), without a passphrase.
            key: PemText,
        }
        optional {}
    }
}

number_type!(
    /// Seconds until a response.
    ResponseTimeout(u32), 1..=86400
);

text_type!(
    /// An address with a port: `[::]:80`, `192.0.2.10:8080`.
    ListenAddress(SocketAddr),
    parse = |text| {
        let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
        address.ok_or_else(|| format!("{text:?} is not an address with a port, such as \"[::]:80\" or \"192.0.2.10:8080\""))
    },
    pattern = r"^([0-9.]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
);

text_type!(
    /// A host name of HTTP requests; one that begins with `*.` stands for all names below the rest.
    RouteHost(String),
    parse = |text| {
        let lower = text.to_ascii_lowercase();
        let name = named(lower.strip_prefix("*.").unwrap_or(&lower), MAX_HOST);
        name.map(|_| lower.clone()).ok_or_else(|| format!("{text:?} is not a host name such as app.example or *.example"))
    },
    pattern = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
);

text_type!(
    /// An address, or a network such as `192.0.2.0/24`.
    ProxyNetwork(Prefixed),
    parse = |text| {
        let alone = |address: IpAddr| Prefixed { address, prefix: if address.is_ipv4() { 32 } else { 128 } };
        let network = text.parse().ok().map(alone).or_else(|| prefixed(text));
        network.ok_or_else(|| format!("{text:?} is neither an address nor a network such as 192.0.2.0/24"))
    },
    pattern = r"^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"
);

text_type!(
    /// Text with PEM blocks (RFC 7468).
    PemText(String),
    parse = |text| {
        // It may be a key, so it is not shown.
        let is_pem = text.contains("-----BEGIN ") && text.contains("-----END ");
        is_pem.then(|| text.to_owned()).ok_or_else(|| "this is not PEM: -----BEGIN …, base64, -----END …".to_owned())
    },
    pattern = r"-----BEGIN [^-]+-----"
);

impl Check for Routing {}

impl Check for RouteCertificate {
    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.hosts.is_empty() {
            reader.report(
                place.offset,
                place.key,
                "hosts is empty: name the hosts that the certificate is for",
            );
            return None;
        }
        Some(self)
    }

    fn identity(&self) -> Option<String> {
        self.hosts.first().map(|host| format!("the certificate of {host}"))
    }
}

impl ListenAddress {
    /// The address and port.
    pub fn get(&self) -> SocketAddr {
        self.0
    }
}

impl RouteHost {
    /// The name in lower case, with `*.` if it has that.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PemText {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ProxyNetwork {
    /// Whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let here = Prefixed { address, prefix: self.0.prefix };
        address.is_ipv4() == self.0.address.is_ipv4() && here.first() == self.0.first()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for RouteHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for PemText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ProxyNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.0.address, self.0.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["[::]:80", "192.0.2.10:8080", "[2001:db8::1]:443"] {
            assert_eq!(good.parse::<ListenAddress>().unwrap().to_string(), good);
        }
        for bad in ["", "80", ":80", "[::]", "localhost:80", "192.0.2.1:0", "192.0.2.1:65536", "::80"] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for (given, meant) in
            [("App.Example", "app.example"), ("*.example", "*.example"), ("localhost", "localhost")]
        {
            assert_eq!(given.parse::<RouteHost>().unwrap().as_str(), meant);
        }
        for bad in ["", "*", "*.", "a.*.example", "*a.example", "app.example:80", "app..example", "-a", "a_b"]
        {
            assert!(bad.parse::<RouteHost>().is_err(), "{bad}");
        }
    }

    #[test]
    fn networks() {
        let holds = |network: &str, address: &str| {
            network.parse::<ProxyNetwork>().unwrap().contains(address.parse().unwrap())
        };
        assert!(holds("192.0.2.0/24", "192.0.2.255"));
        assert!(holds("192.0.2.77/24", "192.0.2.1"), "bits behind the prefix say nothing");
        assert!(!holds("192.0.2.0/24", "192.0.3.0"));
        assert!(!holds("0.0.0.0/0", "::1"));
        assert!(holds("0.0.0.0/0", "203.0.113.9"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1"));
        assert!(holds("::1", "::1") && !holds("::1", "::2"));
        for bad in ["", "192.0.2.0/33", "a/8", "2001:db8::/129", "192.0.2"] {
            assert!(bad.parse::<ProxyNetwork>().is_err(), "{bad}");
        }
    }
}
