//! `[logs]`: where the host sends what its services, its kernel and its containers say.

use serde::{Deserialize, Serialize};

use crate::field::{Field, Place, Reader, Value, plain_fields};
use crate::names::is_authority;
use crate::route::PemText;
use crate::table::{Check, table};
use crate::text::{as_text, number_type, text_type};

/// The longest URL of a destination.
const MAX_URL: usize = 1024;
/// Port of syslog over TLS (RFC 5425 section 4.1).
const SYSLOG_PORT: u16 = 6514;
/// Port of OTLP over HTTP (OTLP 1.0, "OTLP/HTTP default port").
const OTLP_PORT: u16 = 4318;

table! {
    /// Where logs are sent.
    #[derive(Default)]
    struct Logs {
        required {}
        optional {
            /// Who gets them. Without any they stay on the host.
            destinations: Vec<LogDestination>,
            /// Records that wait for a destination, in MiB. Without this key: 64 on the state partition, 8 in memory where there
            /// is none.
            buffer_mib: Option<BufferSize>,
            /// Lines of one source that are sent in a second; more are dropped and counted. Without this key, and with 0: all.
            rate_lines_per_s: Option<u32>,
        }
    }
}

table! {
    /// Who gets logs.
    struct LogDestination {
        required {
            /// What it is called in messages: letters, digits, dots, hyphens and underscores.
            name: DestinationName,
            /// Where it is, and how it is spoken to: `tcp://HOST:PORT` and `tls://HOST:PORT` (a JSON object per line),
            /// `syslog+tls://HOST[:PORT]` (RFC 5425), `otlp+http://HOST[:PORT][/PREFIX]` and `otlp+https://…` (OTLP, `/v1/logs`).
            url: LogUrl,
        }
        optional {
            /// What it is verified with over TLS, in PEM. Without this key: the roots of the image.
            trust_bundle: Option<PemText>,
            /// Whether the host shows its X.509-SVID as client over TLS. Without this key: no.
            identity: Option<bool>,
            /// Whose logs it gets. Without this key: all.
            sources: Option<LogSources>,
            /// How requests of OTLP are compressed. Without this key: gzip.
            compression: Option<LogCompression>,
        }
    }
}

number_type!(
    /// MiB of a buffer.
    BufferSize(u32), 1..=65536
);

text_type!(
    /// Name of a destination.
    DestinationName(String),
    parse = |text| {
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_good) && !text.starts_with('.');
        is_name.then(|| text.to_owned()).ok_or_else(|| {
            format!("{text:?} is no name of a destination: use letters, digits, dots, hyphens and underscores, at most 64")
        })
    },
    pattern = r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}$"
);

text_type!(
    /// Where logs are sent.
    LogUrl(String),
    parse = |text| {
        // What stands before an @ may be a password, and mistakes are shown.
        let shown = if text.contains('@') { "it" } else { text };
        let message = || {
            format!(
                "{shown} is none of tcp://HOST:PORT, tls://HOST:PORT, syslog+tls://HOST[:PORT], \
                 otlp+http://HOST[:PORT][/PREFIX] and otlp+https://HOST[:PORT][/PREFIX]"
            )
        };
        let (scheme, rest) = scheme_of(text).ok_or_else(message)?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let is_otlp = scheme.is_otlp();
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._~-".contains(&byte));
        let is_good = is_authority(authority)
            && (has_port || scheme.default_port().is_some())
            && (is_otlp && is_path || !rest.contains('/'))
            && text.len() <= MAX_URL;
        is_good.then(|| text.to_owned()).ok_or_else(message)
    },
    pattern = r"^((tcp|tls)://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}|syslog\+tls://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?|otlp\+https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9/._~-]*)?)$"
);

/// How a destination is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogScheme {
    /// A JSON object per line.
    Tcp,
    /// The same over TLS.
    Tls,
    /// Syslog over TLS (RFC 5425).
    SyslogTls,
    /// OTLP over plain HTTP.
    OtlpHttp,
    /// OTLP over HTTPS.
    OtlpHttps,
}

impl LogScheme {
    /// Whether it is over TLS.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Tls | Self::SyslogTls | Self::OtlpHttps)
    }

    /// Whether requests of OTLP are sent.
    pub fn is_otlp(self) -> bool {
        matches!(self, Self::OtlpHttp | Self::OtlpHttps)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Tcp | Self::Tls => None,
            Self::SyslogTls => Some(SYSLOG_PORT),
            Self::OtlpHttp | Self::OtlpHttps => Some(OTLP_PORT),
        }
    }
}

fn scheme_of(text: &str) -> Option<(LogScheme, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let scheme = match scheme {
        "tcp" => LogScheme::Tcp,
        "tls" => LogScheme::Tls,
        "syslog+tls" => LogScheme::SyslogTls,
        "otlp+http" => LogScheme::OtlpHttp,
        "otlp+https" => LogScheme::OtlpHttps,
        _ => return None,
    };
    Some((scheme, rest))
}

/// A source of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogSource {
    /// Services of PID 1.
    Services,
    /// The kernel, with PID 1.
    Kernel,
    /// Containers of pods.
    Containers,
}

plain_fields!(LogSource);

/// How requests are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum LogCompression {
    /// `Content-Encoding: gzip` (RFC 9110 section 8.4.1.3).
    #[default]
    Gzip,
    /// Not at all.
    None,
}

plain_fields!(LogCompression);

/// Sources of logs. One that is misspelt voids the list, which would else mean more than was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct LogSources(Vec<LogSource>);

impl Field for LogSources {
    fn read(value: Value<'_>, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let before = reader.problems.len();
        let list = Vec::read(value, place, reader)?;
        (reader.problems.len() == before).then_some(Self(list))
    }
}

impl LogDestination {
    /// Whether it gets the logs of that source.
    pub fn takes(&self, source: LogSource) -> bool {
        self.sources.as_ref().is_none_or(|sources| sources.0.is_empty() || sources.0.contains(&source))
    }
}

impl LogUrl {
    /// How it is spoken to.
    pub fn scheme(&self) -> LogScheme {
        scheme_of(&self.0).map_or(LogScheme::Tcp, |(scheme, _)| scheme)
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        let (host, port) = (self.host(), self.port());
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// The host alone: a name, or an address without brackets.
    pub fn host(&self) -> &str {
        let (host, _) = self.parts();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        let (_, port) = self.parts();
        port.and_then(|port| port.parse().ok()).or(self.scheme().default_port()).unwrap_or_default()
    }

    /// What stands behind host and port, without a slash at the end; empty for all but OTLP.
    pub fn prefix(&self) -> &str {
        let rest = scheme_of(&self.0).map_or("", |(_, rest)| rest);
        rest.find('/').map_or("", |place| rest[place..].trim_end_matches('/'))
    }

    fn parts(&self) -> (&str, Option<&str>) {
        let rest = scheme_of(&self.0).map_or("", |(_, rest)| rest);
        let authority = rest.split('/').next().unwrap_or_default();
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
            _ => (authority, None),
        }
    }
}

impl Check for Logs {}

impl Check for LogDestination {
    /// Without one of these it would be believed by other rules, or be sent more than it should.
    const VITAL: &'static [&'static str] = &["trust-bundle", "identity", "sources"];
    const STRICT: bool = true;

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let needs_tls = self.trust_bundle.is_some() || self.identity == Some(true);
        if needs_tls && !self.url.scheme().is_tls() {
            let message = "trust-bundle and identity are for TLS: use tls://, syslog+tls:// or otlp+https://, or leave them out";
            reader.report(place.offset, place.key, message);
            return None;
        }
        if self.compression.is_some() && !self.url.scheme().is_otlp() {
            let message = "compression is for OTLP: use otlp+http:// or otlp+https://, or leave it out";
            reader.report(place.offset, place.key, message);
            return None;
        }
        Some(self)
    }

    fn identity(&self) -> Option<String> {
        Some(format!("the destination {}", self.name))
    }
}

as_text!(DestinationName, LogUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_their_parts() {
        for (text, authority, prefix, is_tls) in [
            ("tcp://192.0.2.5:5140", "192.0.2.5:5140", "", false),
            ("tls://logs.example:6000", "logs.example:6000", "", true),
            ("syslog+tls://[2001:db8::1]", "[2001:db8::1]:6514", "", true),
            ("syslog+tls://[2001:db8::1]:514", "[2001:db8::1]:514", "", true),
            ("otlp+http://otel.example", "otel.example:4318", "", false),
            ("otlp+https://otel.example:443/a/b/", "otel.example:443", "/a/b", true),
        ] {
            let url: LogUrl = text.parse().unwrap();
            assert_eq!((url.authority().as_str(), url.prefix()), (authority, prefix), "{text}");
            assert_eq!(url.scheme().is_tls(), is_tls, "{text}");
        }
        for bad in [
            "",
            "tcp://a",
            "tls://a",
            "udp://a:1",
            "tcp://a:0",
            "tcp://a:1/x",
            "syslog+tls://a/",
            "otlp+http://a/?x",
            "tcp://u:p@a:1",
            "http://a:4318",
        ] {
            let message = bad.parse::<LogUrl>().expect_err(bad);
            assert!(!message.contains("u:p"), "{message}");
        }
    }

    #[test]
    fn compression_is_chosen_for_otlp() {
        let read = |rest: &str| {
            let text = format!("[[logs.destinations]]\nname = 'a'\nurl = 'otlp+http://a'\n{rest}");
            let parsed = crate::parse("x", &text);
            (parsed.config.logs.destinations.first().map(|it| it.compression), parsed.problems.len())
        };
        assert_eq!(read(""), (Some(None), 0));
        assert_eq!(read("compression = 'gzip'"), (Some(Some(LogCompression::Gzip)), 0));
        assert_eq!(read("compression = 'none'"), (Some(Some(LogCompression::None)), 0));
        // It is said, and what everybody takes is sent.
        assert_eq!(read("compression = 'zstd'"), (Some(None), 1));
        assert_eq!(LogCompression::default(), LogCompression::Gzip);
    }

    #[test]
    fn a_destination_means_what_it_says_or_is_left_out() {
        let read = |rest: &str| {
            let text = format!("[[logs.destinations]]\nname = 'a'\nurl = 'tls://a:1'\n{rest}");
            let parsed = crate::parse("x", &text);
            (parsed.config.logs.destinations, parsed.problems)
        };
        let (destinations, problems) = read("sources = ['kernel']");
        assert_eq!(problems, []);
        assert!(destinations[0].takes(LogSource::Kernel) && !destinations[0].takes(LogSource::Services));
        assert!(read("").0[0].takes(LogSource::Services));
        for bad in [
            "sources = ['kernel', 'service']",
            "trust-bundle = 'a.pem'",
            "identity = 'yes'",
            "compression = 'gzip'",
            "url = 'tcp://a:1'\nidentity = true",
        ] {
            let bad = if bad.starts_with("url") {
                crate::parse("x", &format!("[[logs.destinations]]\nname = 'a'\n{bad}"))
            } else {
                crate::parse("x", &format!("[[logs.destinations]]\nname = 'a'\nurl = 'tls://a:1'\n{bad}"))
            };
            assert_eq!(bad.config.logs.destinations, [], "{:?}", bad.problems);
            assert_eq!(bad.problems.len(), 1, "{:?}", bad.problems);
        }
    }
}
