//! Which protocol a client and the server have in common, and the answer that says so.
//!
//! A pure function of a request's head; the order in a client's list is the order of its wishes.

use http::header::{CONNECTION, CONTENT_TYPE, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Bytes;

use crate::status::StatusFormat;
use crate::websocket::channels::Codec;
use crate::websocket::handshake::{self, Refusal};

const SPDY_VERSIONS: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY_ACCEPTED: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");
const WEBSOCKET_PROTOCOL: HeaderName = HeaderName::from_static("sec-websocket-protocol");
const WEBSOCKET_VERSION: HeaderName = HeaderName::from_static("sec-websocket-version");
const WEBSOCKET_ACCEPT: HeaderName = HeaderName::from_static("sec-websocket-accept");

/// An answer of the server.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What kind of call a client makes; exec and attach speak the same protocols.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    Command,
    PortForward,
}

/// What is spoken after the upgrade.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Protocol {
    /// SPDY streams; for a command, how its status is written and whether the client opens a stream for sizes.
    Spdy { status: StatusFormat, resizes: bool },
    /// Channels in WebSocket messages.
    Channels { status: StatusFormat, codec: Codec },
    /// SPDY streams inside of WebSocket messages.
    Tunnel,
}

const fn spdy(status: StatusFormat, resizes: bool) -> Protocol {
    Protocol::Spdy { status, resizes }
}

const fn channels(status: StatusFormat, codec: Codec) -> Protocol {
    Protocol::Channels { status, codec }
}

use StatusFormat::{Json, Text};

const SPDY_COMMAND: &[(&str, Protocol)] = &[
    ("v4.channel.k8s.io", spdy(Json, true)),
    ("v3.channel.k8s.io", spdy(Text, true)),
    ("v2.channel.k8s.io", spdy(Text, false)),
    ("channel.k8s.io", spdy(Text, false)),
];
const SPDY_PORT_FORWARD: &[(&str, Protocol)] = &[("portforward.k8s.io", spdy(Json, false))];
const WEBSOCKET_COMMAND: &[(&str, Protocol)] = &[
    ("v5.channel.k8s.io", channels(Json, Codec::BinaryWithClose)),
    ("v4.channel.k8s.io", channels(Json, Codec::Binary)),
    ("v4.base64.channel.k8s.io", channels(Json, Codec::Base64)),
    ("channel.k8s.io", channels(Text, Codec::Binary)),
    ("base64.channel.k8s.io", channels(Text, Codec::Base64)),
    // A client that names none.
    ("", channels(Text, Codec::Binary)),
];
const WEBSOCKET_PORT_FORWARD: &[(&str, Protocol)] = &[
    ("SPDY/3.1+portforward.k8s.io", Protocol::Tunnel),
    // Ours: Kubernetes has v5 for commands alone.
    ("v5.channel.k8s.io", channels(Text, Codec::BinaryWithClose)),
    ("v4.channel.k8s.io", channels(Text, Codec::Binary)),
    ("v4.base64.channel.k8s.io", channels(Text, Codec::Base64)),
    ("", channels(Text, Codec::Binary)),
];

/// The protocol to speak and the answer that begins it, or the answer that refuses.
pub(crate) fn negotiate(
    call: Call,
    method: &Method,
    headers: &HeaderMap,
) -> Result<(Protocol, Answer), Box<Answer>> {
    let names =
        |name, wanted: &str| list(headers, name).iter().any(|value| value.eq_ignore_ascii_case(wanted));
    if !names(CONNECTION, "upgrade") {
        return Err(refuse(StatusCode::BAD_REQUEST, "only requests for an upgrade are answered"));
    }
    if names(UPGRADE, "websocket") {
        websocket(call, method, headers)
    } else if names(UPGRADE, "spdy/3.1") {
        spdy_streams(call, headers)
    } else {
        Err(refuse(StatusCode::BAD_REQUEST, "only upgrades to websocket and SPDY/3.1 are possible"))
    }
}

fn websocket(call: Call, method: &Method, headers: &HeaderMap) -> Result<(Protocol, Answer), Box<Answer>> {
    let accept = handshake::accept(method, headers).map_err(|refusal| match refusal {
        Refusal::Bad => refuse(StatusCode::BAD_REQUEST, "the request is no WebSocket handshake"),
        Refusal::Version => {
            let mut answer = refuse(StatusCode::UPGRADE_REQUIRED, "only version 13 of WebSocket is known");
            answer.headers_mut().insert(WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            answer
        }
    })?;
    let known = match call {
        Call::Command => WEBSOCKET_COMMAND,
        Call::PortForward => WEBSOCKET_PORT_FORWARD,
    };
    let mut wanted = list(headers, WEBSOCKET_PROTOCOL);
    if wanted.is_empty() {
        wanted.push("");
    }
    let Some((name, protocol)) = choose(&wanted, known) else {
        return Err(refuse(StatusCode::FORBIDDEN, "none of the client's WebSocket subprotocols is known"));
    };
    let mut answer = switch("websocket");
    let accept = HeaderValue::try_from(accept).expect("base64 is allowed in a header");
    answer.headers_mut().insert(WEBSOCKET_ACCEPT, accept);
    if !name.is_empty() {
        answer.headers_mut().insert(WEBSOCKET_PROTOCOL, HeaderValue::from_static(name));
    }
    Ok((protocol, answer))
}

fn spdy_streams(call: Call, headers: &HeaderMap) -> Result<(Protocol, Answer), Box<Answer>> {
    let known = match call {
        Call::Command => SPDY_COMMAND,
        Call::PortForward => SPDY_PORT_FORWARD,
    };
    let wanted = list(headers, SPDY_VERSIONS);
    if wanted.is_empty() {
        return Err(refuse(
            StatusCode::BAD_REQUEST,
            "the header X-Stream-Protocol-Version names no protocol",
        ));
    }
    let Some((name, protocol)) = choose(&wanted, known) else {
        let mut answer = refuse(StatusCode::FORBIDDEN, "none of the client's stream protocols is known");
        for (name, _) in known {
            answer.headers_mut().append(SPDY_ACCEPTED, HeaderValue::from_static(name));
        }
        return Err(answer);
    };
    let mut answer = switch("SPDY/3.1");
    answer.headers_mut().insert(SPDY_VERSIONS, HeaderValue::from_static(name));
    Ok((protocol, answer))
}

fn choose(wanted: &[&str], known: &[(&'static str, Protocol)]) -> Option<(&'static str, Protocol)> {
    wanted.iter().find_map(|wanted| known.iter().find(|(name, _)| name == wanted)).copied()
}

/// The values of a header that is a list, whether in one line or in several.
fn list(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|value| !value.is_empty()).collect()
}

fn switch(to: &'static str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.headers_mut().insert(UPGRADE, HeaderValue::from_static(to));
    answer
}

/// An answer that is no upgrade.
pub(crate) fn refuse(status: StatusCode, text: &'static str) -> Box<Answer> {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    // One request for each connection; an upgrade must not say so, or Go's HTTP client does not see the upgrade.
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Box::new(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(call: Call, lines: &[(&'static str, &'static str)], expected: Expect) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let (protocol, answer) = match negotiate(call, &Method::GET, &headers) {
            Ok((protocol, answer)) => (format!("{protocol:?}"), answer),
            Err(answer) => ("refused".to_owned(), *answer),
        };
        let lines: String =
            answer.headers().iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
        expected.assert_eq(&format!("{protocol}\n{}\n{lines}", answer.status()));
    }

    const SPDY: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn kubernetes_spdy_client() {
        let versions = "v5.channel.k8s.io";
        let rest = "v4.channel.k8s.io, v3.channel.k8s.io";
        let name = "x-stream-protocol-version";
        check(
            Call::Command,
            &[SPDY[0], SPDY[1], (name, versions), (name, rest)],
            expect![[r#"
                Spdy { status: Json, resizes: true }
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "SPDY/3.1"
                x-stream-protocol-version: "v4.channel.k8s.io"
            "#]],
        );
        check(
            Call::PortForward,
            &[SPDY[0], SPDY[1], (name, "portforward.k8s.io")],
            expect![[r#"
                Spdy { status: Json, resizes: false }
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "SPDY/3.1"
                x-stream-protocol-version: "portforward.k8s.io"
            "#]],
        );
    }

    #[test]
    fn kubernetes_websocket_client() {
        let name = "sec-websocket-protocol";
        let request = |protocol| [&WEBSOCKET[..], &[(name, protocol)]].concat();
        check(
            Call::Command,
            &request("v5.channel.k8s.io"),
            expect![[r#"
                Channels { status: Json, codec: BinaryWithClose }
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "websocket"
                sec-websocket-accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                sec-websocket-protocol: "v5.channel.k8s.io"
            "#]],
        );
        check(
            Call::PortForward,
            &request("SPDY/3.1+portforward.k8s.io"),
            expect![[r#"
                Tunnel
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "websocket"
                sec-websocket-accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                sec-websocket-protocol: "SPDY/3.1+portforward.k8s.io"
            "#]],
        );
        check(
            Call::Command,
            &WEBSOCKET,
            expect![[r#"
                Channels { status: Text, codec: Binary }
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "websocket"
                sec-websocket-accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
            "#]],
        );
        check(
            Call::PortForward,
            &request("v5.channel.k8s.io"),
            expect![[r#"
                Channels { status: Text, codec: BinaryWithClose }
                101 Switching Protocols
                connection: "Upgrade"
                upgrade: "websocket"
                sec-websocket-accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
                sec-websocket-protocol: "v5.channel.k8s.io"
            "#]],
        );
        check(
            Call::PortForward,
            &request("v6.channel.k8s.io"),
            expect![[r#"
                refused
                403 Forbidden
                connection: "close"
                content-type: "text/plain; charset=utf-8"
            "#]],
        );
    }

    #[test]
    fn clients_that_are_refused() {
        check(
            Call::Command,
            &[SPDY[0], SPDY[1], ("x-stream-protocol-version", "v9.channel.k8s.io")],
            expect![[r#"
                refused
                403 Forbidden
                connection: "close"
                content-type: "text/plain; charset=utf-8"
                x-accepted-stream-protocol-versions: "v4.channel.k8s.io"
                x-accepted-stream-protocol-versions: "v3.channel.k8s.io"
                x-accepted-stream-protocol-versions: "v2.channel.k8s.io"
                x-accepted-stream-protocol-versions: "channel.k8s.io"
            "#]],
        );
        let bad = || {
            expect![[r#"
                refused
                400 Bad Request
                connection: "close"
                content-type: "text/plain; charset=utf-8"
            "#]]
        };
        check(Call::Command, &SPDY, bad());
        check(Call::Command, &[], bad());
        check(Call::Command, &[("connection", "upgrade"), ("upgrade", "h2c")], bad());
        check(
            Call::Command,
            &WEBSOCKET[..2],
            expect![[r#"
                refused
                426 Upgrade Required
                connection: "close"
                content-type: "text/plain; charset=utf-8"
                sec-websocket-version: "13"
            "#]],
        );
    }
}
