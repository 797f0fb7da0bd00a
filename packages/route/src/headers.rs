//! What a proxy must do to heads (RFC 9110 section 7.6, RFC 9112, RFC 7239), and which requests it must refuse because
//! an instance could understand them in another way.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Version};

use crate::peer::{Peer, Scheme};

/// Headers that concern one connection alone, besides those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("proxy-authorization"),
    TRANSFER_ENCODING,
    UPGRADE,
];
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What the request is for, and with what it is written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The host name in lower case, without port and final dot.
    pub(crate) host: String,
    /// As the client wrote it, with its port.
    pub(crate) authority: String,
}

/// Why a request is refused with status 400.
pub(crate) type Refusal = &'static str;

/// Whom a request is for; refuses what can be understood in two ways.
pub(crate) fn target(parts: &Parts) -> Result<Target, Refusal> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let named = hosts.next();
    if hosts.next().is_some() {
        return Err("more than one Host");
    }
    let named = named.map(|value| value.to_str().map_err(|_| "Host is not a host name")).transpose()?;
    let authority = match (parts.uri.authority(), named) {
        (Some(authority), Some(host))
            if parts.version == Version::HTTP_2 && !authority.as_str().eq_ignore_ascii_case(host) =>
        {
            return Err(":authority and Host differ");
        }
        // In HTTP/1.1 the request line counts (RFC 9112 section 3.2.2).
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host,
        (None, None) => return Err("no Host"),
    };
    if parts.version < Version::HTTP_2 && named.is_none() && parts.version != Version::HTTP_10 {
        return Err("no Host");
    }
    let end =
        if authority.starts_with('[') { authority.find(']').map(|end| end + 1) } else { authority.find(':') };
    let (host, port) = authority.split_at(end.unwrap_or(authority.len()));
    let host = host.strip_suffix('.').unwrap_or(host);
    if !is_host(host) || !is_port(port) {
        return Err("Host is not a host name");
    }
    Ok(Target { host: host.to_ascii_lowercase(), authority: authority.to_owned() })
}

/// RFC 1035 section 2.3.4, in text form.
const HOST_MAX: usize = 253;

/// Whether it is a name, or an IPv6 address in brackets; underscores are in names that are not of the Internet.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            (1..=HOST_MAX).contains(&host.len())
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    }
}

/// Whether it is what may come behind a host: nothing, or `:` with or without a number.
fn is_port(text: &str) -> bool {
    let is_number =
        |port: &str| port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok();
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.is_empty() || is_number(port))
}

/// Refuses bodies whose length or coding could be understood in two ways. What hyper has refused already does not come here:
/// several lengths, a length that is no number, a coding in HTTP/1.0, one that does not end in `chunked`.
pub(crate) fn check_body(parts: &Parts) -> Result<(), Refusal> {
    let mut codings = parts.headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err("Transfer-Encoding is not chunked alone");
    }
    if parts.headers.get_all(CONTENT_LENGTH).iter().nth(1).is_some() {
        return Err("more than one Content-Length");
    }
    Ok(())
}

/// Whether a `Connection` or a like header has that word.
fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// The protocol that the client wants to change to, if it may: not to HTTP/2, by which it would get past all of this.
pub(crate) fn wanted_upgrade(parts: &Parts) -> Option<HeaderValue> {
    let is_asked = parts.version == Version::HTTP_11 && has_token(&parts.headers, &CONNECTION, "upgrade");
    let mut protocols = parts.headers.get_all(UPGRADE).iter();
    let protocol = protocols.next().filter(|_| is_asked)?;
    let is_alone = protocols.next().is_none();
    let is_http2 = has_token(&parts.headers, &UPGRADE, "h2c") || has_token(&parts.headers, &UPGRADE, "h2");
    (is_alone && !is_http2).then(|| protocol.clone())
}

/// Removes what concerns one connection alone.
pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|word| word.trim().parse().ok())
        .collect();
    // A client cannot make others lose what says how long a body is or whom it is for.
    for name in named.iter().filter(|name| ![CONTENT_LENGTH, HOST, TE].contains(name)) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Makes the headers of a request those that an instance gets.
pub(crate) fn make_request(parts: &mut Parts, target: &Target, peer: &Peer, upgrade: Option<HeaderValue>) {
    let takes_trailers = has_token(&parts.headers, &TE, "trailers");
    let headers = &mut parts.headers;
    remove_hop_by_hop(headers);
    headers.remove(TE);
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    // It was answered on the way here: the body is passed on as it comes.
    headers.remove(EXPECT);
    // A program that is started by CGI would take it for the address of its own proxy.
    headers.remove("proxy");
    join_cookies(headers);
    set_forwarded(headers, target, peer);
    headers.insert(HOST, value(target.authority.clone()));
    if let Some(protocol) = upgrade {
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, protocol);
    }
}

/// Makes the headers of a response those that the client gets.
pub(crate) fn make_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

/// HTTP/2 may send them one by one (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            headers.insert(COOKIE, joined);
        }
    }
}

/// Says for whom the request is made. What a client says of that itself counts only if it is a trusted proxy.
fn set_forwarded(headers: &mut HeaderMap, target: &Target, peer: &Peer) {
    if !peer.is_trusted {
        // Some servers take an underscore for a hyphen.
        let is_claim = |name: &HeaderName| {
            let name = name.as_str().replace('_', "-");
            name.starts_with("x-forwarded-") || name == "forwarded" || name == "x-real-ip"
        };
        let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name)).cloned().collect();
        for name in &claims {
            headers.remove(name);
        }
    }
    let proto = peer.scheme.as_str();
    let mut chain = joined(headers, &FORWARDED_FOR);
    chain.push_str(&peer.address.to_string());
    let mut forwarded = joined(headers, &FORWARDED);
    let by =
        if peer.address.is_ipv6() { format!("\"[{}]\"", peer.address) } else { peer.address.to_string() };
    let _ = write!(forwarded, "for={by};host=\"{}\";proto={proto}", target.authority);
    headers.insert(FORWARDED_FOR, value(chain));
    headers.insert(FORWARDED, value(forwarded));
    headers.entry(FORWARDED_PROTO).or_insert(HeaderValue::from_static(proto));
    headers.entry(FORWARDED_HOST).or_insert(value(target.authority.clone()));
}

/// How the client's own request came in, by what a trusted proxy says of it.
pub(crate) fn client_scheme(headers: &HeaderMap, peer: &Peer) -> Scheme {
    let claim = headers.get(FORWARDED_PROTO).filter(|_| peer.is_trusted);
    match claim {
        Some(proto) if proto.as_bytes().eq_ignore_ascii_case(b"https") => Scheme::Https,
        _ => peer.scheme,
    }
}

/// All values of a header in one list that goes on.
fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    let mut list = String::new();
    for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
        list.push_str(value);
        list.push_str(", ");
    }
    list
}

/// A value that is made of others and of numbers.
fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("unknown"))
}

/// Whether the request may be made again when nobody knows whether it was done (RFC 9110 section 9.2.2).
pub(crate) fn is_repeatable(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE].contains(method)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http::Request;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::router::Router;
    use crate::settings::Settings;

    fn parts(uri: &str, version: Version, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri).version(version);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn hosts() {
        let host = |uri: &str, version, headers: &[(&str, &str)]| {
            target(&parts(uri, version, headers)).map(|target| target.host)
        };
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        assert_eq!(host("/", one, &[("host", "App.Example:8080")]).unwrap(), "app.example");
        assert_eq!(host("/", one, &[("host", "app.example.")]).unwrap(), "app.example");
        assert_eq!(host("/", one, &[("host", "[::1]:80")]).unwrap(), "[::1]");
        assert_eq!(host("http://b.example/", one, &[("host", "a.example")]).unwrap(), "b.example");
        assert_eq!(host("http://b.example/", two, &[]).unwrap(), "b.example");
        assert_eq!(host("http://b.example/", two, &[("host", "B.example")]).unwrap(), "b.example");
        for (uri, version, headers) in [
            ("http://b.example/", two, &[("host", "a.example")][..]),
            ("/", one, &[]),
            ("/", Version::HTTP_10, &[]),
            ("http://b.example/", one, &[]),
            ("/", one, &[("host", "a"), ("host", "a")]),
            ("/", one, &[("host", "")]),
            ("/", one, &[("host", "a b")]),
            ("/", one, &[("host", "user@a")]),
            ("/", one, &[("host", "a/b")]),
            ("/", one, &[("host", "a:b")]),
            ("/", one, &[("host", "a:99999")]),
            ("/", one, &[("host", "a:80:80")]),
            ("/", one, &[("host", "*.example")]),
            ("/", one, &[("host", "[::1")]),
            ("/", one, &[("host", ".")]),
            ("/", one, &[("host", &"a".repeat(254))]),
            ("/", one, &[("host", "é")]),
        ] {
            assert!(host(uri, version, headers).is_err(), "{uri} {headers:?}");
        }
    }

    #[test]
    fn bodies() {
        let check = |headers: &[(&str, &str)]| check_body(&parts("/", Version::HTTP_11, headers));
        assert_eq!(check(&[("transfer-encoding", "Chunked")]), Ok(()));
        assert_eq!(check(&[("content-length", "3")]), Ok(()));
        for bad in [
            &[("transfer-encoding", "gzip, chunked")][..],
            &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
            &[("transfer-encoding", "\u{b}chunked")],
            &[("content-length", "3"), ("content-length", "3")],
        ] {
            let Ok(request) = bad.iter().try_fold(HeaderMap::new(), |mut headers, (name, value)| {
                headers.append(
                    name.parse::<HeaderName>().unwrap(),
                    value.parse::<HeaderValue>().map_err(|_| ())?,
                );
                Ok::<_, ()>(headers)
            }) else {
                continue;
            };
            let mut parts = parts("/", Version::HTTP_11, &[]);
            parts.headers = request;
            assert!(check_body(&parts).is_err(), "{bad:?}");
        }
    }

    /// What an instance gets of these, from a proxy that is trusted or not, as `NAME: VALUE`.
    fn made(headers: &[(&str, &str)], trusted: &str) -> Vec<String> {
        let mut settings = Settings::default();
        settings.trusted.extend(trusted.parse().ok());
        let router = Arc::new(Router::new(settings));
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let peer = Peer::enter(&router, "192.0.2.7".parse().unwrap(), Scheme::Http, permit).unwrap();
        let mut parts = parts("/", Version::HTTP_11, headers);
        let upgrade = wanted_upgrade(&parts);
        let target = Target { host: "a.example".to_owned(), authority: "a.example:81".to_owned() };
        make_request(&mut parts, &target, &peer, upgrade);
        let mut lines: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        lines
    }

    const OWN: [&str; 5] = [
        "forwarded: for=192.0.2.7;host=\"a.example:81\";proto=http",
        "host: a.example:81",
        "x-forwarded-for: 192.0.2.7",
        "x-forwarded-host: a.example:81",
        "x-forwarded-proto: http",
    ];

    #[test]
    fn claims_of_clients_are_replaced() {
        let claims = [
            ("x-forwarded-for", "203.0.113.1"),
            ("X-Forwarded-Proto", "https"),
            ("x-forwarded-host", "other"),
            ("x-forwarded-port", "1"),
            ("x_forwarded_for", "203.0.113.1"),
            ("forwarded", "for=203.0.113.1"),
            ("x-real-ip", "203.0.113.1"),
            ("connection", "x-forwarded-for, host, forwarded"),
            ("proxy", "http://203.0.113.1"),
        ];
        assert_eq!(made(&claims, ""), OWN);
    }

    #[test]
    fn a_trusted_proxy_is_added_to() {
        let claims = [
            ("x-forwarded-for", "203.0.113.1"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "front"),
            ("forwarded", "for=203.0.113.1"),
        ];
        assert_eq!(
            made(&claims, "192.0.2.0/24"),
            [
                "forwarded: for=203.0.113.1, for=192.0.2.7;host=\"a.example:81\";proto=http",
                "host: a.example:81",
                "x-forwarded-for: 203.0.113.1, 198.51.100.1, 192.0.2.7",
                "x-forwarded-host: front",
                "x-forwarded-proto: https",
            ]
        );
    }

    fn rest(headers: &[(&str, &str)]) -> Vec<String> {
        made(headers, "").into_iter().filter(|line| !OWN.contains(&&**line)).collect()
    }

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let sent = [
            ("connection", "close, x-mine"),
            ("connection", "content-length"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip, trailers"),
            ("trailer", "x-sum"),
            ("expect", "100-continue"),
            ("content-length", "3"),
            ("cookie", "a=1"),
            ("cookie", "b=2"),
            ("accept", "*/*"),
        ];
        let kept = ["accept: */*", "content-length: 3", "cookie: a=1; b=2", "te: trailers", "trailer: x-sum"];
        assert_eq!(rest(&sent), kept);
    }

    #[test]
    fn upgrades() {
        let asks = |protocol| [("connection", "keep-alive, Upgrade"), ("upgrade", protocol)];
        assert_eq!(rest(&asks("websocket")), ["connection: upgrade", "upgrade: websocket"]);
        assert_eq!(rest(&asks("h2c")), Vec::<String>::new());
        assert_eq!(rest(&asks("websocket, H2C")), Vec::<String>::new());
        assert_eq!(
            rest(&[("upgrade", "websocket")]),
            Vec::<String>::new(),
            "without Connection it is no wish"
        );
    }
}
