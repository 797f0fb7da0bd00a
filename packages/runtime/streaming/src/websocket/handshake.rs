//! The opening handshake of WebSocket (RFC 6455, section 4.2), the server's side, without its subprotocols.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use sha1::{Digest, Sha1};

/// Proves that the server knows WebSocket (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Bytes of a client's key.
const KEY_BYTES: usize = 16;

/// Why a handshake fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// Not a WebSocket request.
    Bad,
    /// Another version of WebSocket.
    Version,
}

/// The value of `Sec-WebSocket-Accept` for a client's request.
pub(crate) fn accept(method: &Method, headers: &HeaderMap) -> Result<String, Refusal> {
    let value = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if method != Method::GET {
        return Err(Refusal::Bad);
    }
    if value("sec-websocket-version") != Some("13") {
        return Err(Refusal::Version);
    }
    let key = value("sec-websocket-key").ok_or(Refusal::Bad)?;
    match STANDARD.decode(key) {
        Ok(bytes) if bytes.len() == KEY_BYTES => Ok(answer(key)),
        _ => Err(Refusal::Bad),
    }
}

fn answer(key: &str) -> String {
    STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(key: &str, version: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("sec-websocket-key", key.parse().unwrap());
        headers.insert("sec-websocket-version", version.parse().unwrap());
        headers
    }

    #[test]
    fn the_example_of_the_rfc() {
        // Section 1.3.
        let accepted = accept(&Method::GET, &headers("dGhlIHNhbXBsZSBub25jZQ==", "13"));
        assert_eq!(accepted.as_deref(), Ok("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn other_requests() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        assert_eq!(accept(&Method::POST, &headers(key, "13")), Err(Refusal::Bad));
        assert_eq!(accept(&Method::GET, &headers(key, "8")), Err(Refusal::Version));
        assert_eq!(accept(&Method::GET, &headers("c2hvcnQ=", "13")), Err(Refusal::Bad));
        assert_eq!(accept(&Method::GET, &headers("!", "13")), Err(Refusal::Bad));
        assert_eq!(accept(&Method::GET, &HeaderMap::new()), Err(Refusal::Version));
    }
}
