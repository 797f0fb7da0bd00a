//! `[identity]`: the trust domain that a host belongs to, and what workloads of it are called.

use std::net::Ipv6Addr;

use crate::field::{Place, Reader};
use crate::host::Mode;
use crate::names::named;
use crate::route::PemText;
use crate::table::{Check, table};
use crate::text::{as_text, number_type, text_type};

/// SPIFFE-ID section 2.1 and 2.3.
const MAX_TRUST_DOMAIN: usize = 255;
const MAX_ID: usize = 2048;
const MAX_HOST: usize = 253;
const MAX_TEXT: usize = 1024;
const MAX_PATH: usize = 4000;

table! {
    /// The host's identity. Without any server the host is a trust domain of its own.
    #[derive(Default)]
    struct Identity {
        required {}
        optional {
            /// Name of the trust domain. Without this key: `host-` and an identifier of this host.
            trust_domain: Option<TrustDomainName>,
            /// SPIRE servers, the preferred one first. Without any, the host itself issues identities.
            servers: Vec<IdentityServer>,
            /// What the servers are verified with at first, in PEM: the certificates of their trust domain.
            trust_bundle: Option<PemText>,
            /// Where to get that from, instead.
            trust_bundle_url: Option<BundleUrl>,
            /// SHA-256 digest of the file there.
            trust_bundle_sha256: Option<Sha256Digest>,
            /// A token of the server, for one host and one use.
            join_token: Option<JoinToken>,
            /// A certificate that the host joins with, instead of a token.
            x509pop: Option<X509pop>,
            /// The certificate and key that the host issues identities with while it has no servers, instead of ones that it
            /// makes itself.
            authority: Option<IdentityAuthority>,
            /// Whether the first server that answers is believed, when there is no trust bundle. Images for production refuse
            /// that.
            insecure_bootstrap: Option<bool>,
            /// Where the host stands. Entries below may select hosts by it (`lepton:site:rack-7`), and by `lepton:arch:x86_64`
            /// and `lepton:image:node`.
            site: Option<Site>,
            /// Identities that the host issues while it is a trust domain of its own.
            entries: Vec<IdentityEntry>,
            /// Identities as files, for programs that do not speak the Workload API.
            files: Vec<IdentityFile>,
        }
    }
}

table! {
    /// A certificate of the host, by which a server knows it.
    struct X509pop {
        required {
            /// The certificate and those that lead to the authority that the server trusts, in PEM, its own first.
            certificate: PemText,
            /// Its private key in PEM (PKCS#8, SEC 1 or PKCS#1), without a passphrase.
            key: PemText,
        }
        optional {}
    }
}

table! {
    /// An authority of the host's trust domain, which others may be of, too.
    struct IdentityAuthority {
        required {
            /// The authority's certificate and those that lead to a root of the trust domain, in PEM, its own first. The last
            /// one is what others verify identities of this host with.
            certificate: PemText,
            /// Its private key in PEM (PKCS#8, of the curve P-256), without a passphrase.
            key: PemText,
        }
        optional {}
    }
}

table! {
    /// An identity that the host itself issues.
    struct IdentityEntry {
        required {
            /// Path of its SPIFFE ID: `/web` in `spiffe://TRUST-DOMAIN/web`.
            path: IdentityPath,
            /// What a workload must have to get it, all of these: `unix:uid:1000`, `lepton:service:web`,
            /// `k8s:pod-label:app:web`.
            selectors: Vec<SelectorText>,
        }
        optional {
            /// DNS names of its certificate.
            dns_names: Vec<DnsName>,
            /// Seconds that a certificate of it is good for. Without this key: 3600.
            x509_ttl_s: Option<X509Ttl>,
            /// Seconds that a JWT-SVID of it is good for. Without this key: 300.
            jwt_ttl_s: Option<JwtTtl>,
            /// A word that tells it from others that one workload has.
            hint: Option<Site>,
        }
    }
}

table! {
    /// An identity as files.
    struct IdentityFile {
        required {
            /// The SPIFFE ID, or its path in the host's trust domain.
            spiffe_id: IdentityName,
            /// Where its certificates are written, in PEM, its own first.
            certificate: DeliveryPath,
            /// Where its private key is written, in PEM.
            key: DeliveryPath,
        }
        optional {
            /// Where the certificates of its trust domain are written, in PEM.
            bundle: Option<DeliveryPath>,
            /// User that owns the files. Without this key: 0.
            uid: Option<u32>,
            /// Group that owns the files. Without this key: 0.
            gid: Option<u32>,
            /// Permission bits in octal. Without this key: `0400`.
            mode: Option<Mode>,
            /// Who is told that the files have changed.
            reload: Option<Reload>,
        }
    }
}

table! {
    /// A service that is told of a change.
    struct Reload {
        required {
            /// Its name.
            service: String,
        }
        optional {
            /// The signal that it gets. Without this key: `SIGHUP`.
            signal: Option<ReloadSignal>,
        }
    }
}

number_type!(
    /// Seconds that a certificate is good for.
    X509Ttl(u32), 60..=2592000
);

number_type!(
    /// Seconds that a JWT-SVID is good for.
    JwtTtl(u32), 30..=86400
);

text_type!(
    /// Name of a trust domain: lower-case letters, digits, dots, hyphens and underscores.
    TrustDomainName(String),
    parse = |text| {
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
        let name = text.strip_prefix("spiffe://").unwrap_or(text);
        let is_name = (1..=MAX_TRUST_DOMAIN).contains(&name.len()) && name.bytes().all(is_good);
        is_name.then(|| name.to_owned()).ok_or_else(|| {
            format!("{text:?} is no trust domain: use lower-case letters, digits, dots, hyphens and underscores")
        })
    },
    pattern = r"^(spiffe://)?[a-z0-9._-]{1,255}$"
);

text_type!(
    /// A server: `spire.example:8081`, `192.0.2.1:8081`, `[2001:db8::1]:8081`.
    IdentityServer(String),
    parse = |text| {
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => named(host, MAX_HOST).is_some(),
        };
        let is_port = port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port);
        (is_host && is_port).then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no server: HOST:PORT, such as \"192.0.2.1:8081\"")
        })
    },
    pattern = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
);

text_type!(
    /// URL of a trust bundle.
    BundleUrl(String),
    parse = |text| {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let is_good = rest.is_some_and(|rest| {
            !rest.is_empty() && !rest.contains('@') && rest.bytes().all(|byte| byte.is_ascii_graphic())
        });
        is_good.then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no URL of a trust bundle: https://HOST[:PORT]/PATH or http://…")
        })
    },
    pattern = r"^https?://[^@\s]+$"
);

text_type!(
    /// A SHA-256 digest: 64 hexadecimal digits.
    Sha256Digest(String),
    parse = |text| {
        let is_digest = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let message = || format!("{text:?} is no SHA-256 digest: 64 hexadecimal digits");
        is_digest.then(|| text.to_ascii_lowercase()).ok_or_else(message)
    },
    pattern = r"^[0-9A-Fa-f]{64}$"
);

text_type!(
    /// A token of a server.
    JoinToken(String),
    parse = |text| {
        let is_token = (1..=256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        let message = "it is no token of a server: text without spaces, at most 256 characters";
        is_token.then(|| text.to_owned()).ok_or_else(|| message.to_owned())
    },
    pattern = r"^[!-~]{1,256}$"
);

text_type!(
    /// A word: letters, digits, dots, hyphens and underscores.
    Site(String),
    parse = |text| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_word = (1..=128).contains(&text.len()) && text.bytes().all(is_good);
        is_word.then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no word: use letters, digits, dots, hyphens and underscores")
        })
    },
    pattern = r"^[A-Za-z0-9._-]{1,128}$"
);

text_type!(
    /// Path of a SPIFFE ID.
    IdentityPath(String),
    parse = |text| {
        is_path(text).then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no path of a SPIFFE ID: /NAME[/NAME]…, of letters, digits, dots, hyphens and underscores")
        })
    },
    pattern = r"^(/[A-Za-z0-9._-]+)+$"
);

text_type!(
    /// A SPIFFE ID, or its path.
    IdentityName(String),
    parse = |text| {
        let is_good = match text.strip_prefix("spiffe://") {
            None => is_path(text),
            Some(rest) => rest.find('/').is_some_and(|place| {
                let (domain, path) = rest.split_at(place);
                domain.parse::<TrustDomainName>().is_ok() && is_path(path)
            }),
        };
        (is_good && text.len() <= MAX_ID).then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is neither a SPIFFE ID, such as spiffe://example.org/web, nor the path of one")
        })
    },
    pattern = r"^(spiffe://[a-z0-9._-]+)?(/[A-Za-z0-9._-]+)+$"
);

text_type!(
    /// A selector: `TYPE:VALUE`.
    SelectorText(String),
    parse = |text| {
        let is_good = text.split_once(':').is_some_and(|(kind, value)| !kind.is_empty() && !value.is_empty());
        (is_good && text.len() <= MAX_TEXT).then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no selector: TYPE:VALUE, such as unix:uid:1000 or lepton:service:web")
        })
    },
    pattern = r"^[^:]+:.+$"
);

text_type!(
    /// A DNS name of a certificate.
    DnsName(String),
    parse = |text| {
        let lower = text.to_ascii_lowercase();
        let name = named(lower.strip_prefix("*.").unwrap_or(&lower), MAX_HOST);
        name.map(|_| lower.clone()).ok_or_else(|| format!("{text:?} is no DNS name such as web.example"))
    },
    pattern = r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$"
);

text_type!(
    /// Where a file is written.
    DeliveryPath(String),
    parse = |text| {
        let is_name = |name: &str| !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
        let below = text.strip_prefix('/').unwrap_or_default();
        let is_good = below.split('/').all(is_name) && !text.contains('\0') && text.len() <= MAX_PATH;
        is_good.then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is not a plain path: from / on, with no empty part, no . and no ..")
        })
    },
    pattern = r"^(/[^/\u0000]+)+$"
);

text_type!(
    /// A signal that means: read your files again.
    ReloadSignal(String),
    parse = |text| {
        ["SIGHUP", "SIGUSR1", "SIGUSR2"].contains(&text).then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is none of SIGHUP, SIGUSR1 and SIGUSR2")
        })
    },
    pattern = r"^SIG(HUP|USR1|USR2)$"
);

fn is_path(text: &str) -> bool {
    let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let is_segment = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_good);
    text.len() <= MAX_ID && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_segment))
}

as_text!(
    TrustDomainName,
    IdentityServer,
    BundleUrl,
    Sha256Digest,
    JoinToken,
    Site,
    IdentityPath,
    IdentityName,
    SelectorText,
    DnsName,
    DeliveryPath,
    ReloadSignal
);

impl Check for X509pop {}
impl Check for IdentityAuthority {}
impl Check for Reload {}

impl Check for IdentityEntry {
    /// Without one of these the certificate would say less than it was to say.
    const VITAL: &'static [&'static str] = &["dns-names", "x509-ttl-s", "jwt-ttl-s"];
    const STRICT: bool = true;

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.selectors.is_empty() {
            reader.report(place.offset, place.key, "selectors is empty: every workload would be given it");
            return None;
        }
        Some(self)
    }
}

impl Check for IdentityFile {
    /// Without one of these somebody else could read the key.
    const VITAL: &'static [&'static str] = &["uid", "gid", "mode", "bundle"];
    const STRICT: bool = true;

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let paths = [Some(&self.certificate), Some(&self.key), self.bundle.as_ref()];
        let mut paths: Vec<_> = paths.into_iter().flatten().collect();
        let count = paths.len();
        paths.sort_unstable();
        paths.dedup();
        if paths.len() < count {
            reader.report(place.offset, place.key, "certificate, key and bundle are files of their own");
            return None;
        }
        Some(self)
    }

    fn identity(&self) -> Option<String> {
        Some(format!("the key at {}", self.key))
    }
}

impl Check for Identity {
    /// Without one of these the host would join something else, or nothing.
    const VITAL: &'static [&'static str] = &[
        "trust-domain",
        "servers",
        "trust-bundle",
        "trust-bundle-url",
        "trust-bundle-sha256",
        "x509pop",
        "authority",
    ];

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut refuse = |message: &str| {
            reader.report(place.offset, place.key, message);
            None
        };
        if self.trust_bundle_url.is_some() != self.trust_bundle_sha256.is_some() {
            return refuse("trust-bundle-url and trust-bundle-sha256 belong together: give both or none");
        }
        if self.trust_bundle.is_some() && self.trust_bundle_url.is_some() {
            return refuse("trust-bundle is the bundle itself: leave trust-bundle-url out");
        }
        if self.join_token.is_some() && self.x509pop.is_some() {
            return refuse("a host joins in one way: give join-token or x509pop");
        }
        if !self.servers.is_empty() && self.trust_domain.is_none() {
            return refuse("servers need a trust-domain: the one that they are servers of");
        }
        if self.authority.is_some() && !self.servers.is_empty() {
            return refuse("a host with servers issues nothing itself: give servers or authority");
        }
        if self.authority.is_some() && self.trust_domain.is_none() {
            return refuse("authority needs a trust-domain: the one that it is an authority of");
        }
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["example.org", "spiffe://a_b-1"] {
            assert!(good.parse::<TrustDomainName>().is_ok(), "{good}");
        }
        assert_eq!("spiffe://a".parse::<TrustDomainName>().unwrap().as_str(), "a");
        for bad in ["", "Example.org", "a/b", "a:1", "spiffe://"] {
            assert!(bad.parse::<TrustDomainName>().is_err(), "{bad}");
        }
        for good in ["/web", "/a/b.c_d-E"] {
            assert!(good.parse::<IdentityPath>().is_ok() && good.parse::<IdentityName>().is_ok(), "{good}");
        }
        for bad in ["", "/", "web", "/a/", "/a//b", "/..", "/a b"] {
            assert!(bad.parse::<IdentityPath>().is_err() && bad.parse::<IdentityName>().is_err(), "{bad}");
        }
        assert!("spiffe://example.org/web".parse::<IdentityName>().is_ok());
        for bad in ["spiffe://example.org", "spiffe:///web", "spiffe://a/", "https://a/b"] {
            assert!(bad.parse::<IdentityName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn servers_and_urls() {
        for good in ["192.0.2.1:8081", "[2001:db8::1]:8081", "spire.example:443"] {
            assert!(good.parse::<IdentityServer>().is_ok(), "{good}");
        }
        for bad in ["", "192.0.2.1", "2001:db8::1:8081:", ":8081", "a:0", "a:65536", "a:+1", "http://a:1"] {
            assert!(bad.parse::<IdentityServer>().is_err(), "{bad}");
        }
        assert!("https://a/b.pem".parse::<BundleUrl>().is_ok());
        for bad in ["ftp://a", "https://", "https://u:p@a/", "https://a b"] {
            assert!(bad.parse::<BundleUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn tokens_are_not_shown() {
        let refused = "a secret".parse::<JoinToken>().unwrap_err();
        assert!(!refused.contains("secret"), "{refused}");
    }

    #[test]
    fn contradictions() {
        let problems = |text: &str| {
            let parsed = crate::parse("x", text);
            parsed.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(problems("[identity]\ntrust-domain = 'a'\nservers = ['b:1']"), "");
        let pem = "'''-----BEGIN A-----\n-----END A-----'''";
        for (text, said) in [
            ("servers = ['b:1']".to_owned(), "servers need a trust-domain"),
            (format!("trust-bundle-sha256 = '{}'", "0".repeat(64)), "belong together"),
            (format!("join-token = 'a'\nx509pop = {{ certificate = {pem}, key = {pem} }}"), "in one way"),
            (
                format!(
                    "trust-domain = 'a'\nservers = ['b:1']\nauthority = {{ certificate = {pem}, key = {pem} }}"
                ),
                "issues nothing itself",
            ),
            (format!("authority = {{ certificate = {pem}, key = {pem} }}"), "authority needs a trust-domain"),
            ("entries = [{ path = '/a', selectors = [] }]".to_owned(), "selectors is empty"),
            (
                "files = [{ spiffe-id = '/a', certificate = '/a', key = '/a' }]".to_owned(),
                "files of their own",
            ),
        ] {
            let found = problems(&format!("[identity]\n{text}"));
            assert!(found.contains(said), "{text}: {found}");
        }
    }
}
