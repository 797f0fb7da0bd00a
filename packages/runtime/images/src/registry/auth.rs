//! What a registry wants to know of who asks: `WWW-Authenticate`, basic authentication and the bearer tokens of the
//! distribution specification. Pure: requests are made elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::url::percent_encoded;
use crate::record::Credentials;

/// What a registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

/// The value of `Authorization` for `USER:PASSWORD`.
pub(crate) fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

/// Reads one `WWW-Authenticate` header, which may hold several challenges; others than the two are left out.
pub(crate) fn challenges(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let scheme = scheme.trim_end_matches(',');
        let (parameters, next) = parameters(after);
        let value = |wanted: &str| {
            let same = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            same.map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            found.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            found.push(Challenge::Bearer { realm, service: value("service"), scope: value("scope") });
        }
        rest = next;
    }
    found
}

/// `name="value", name=value …` up to the next scheme; gives what follows.
fn parameters(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start_matches([' ', ',', '\t']);
        let name = rest.find(|letter: char| !(letter.is_ascii_alphanumeric() || "-_".contains(letter)));
        let Some(end) = name.filter(|end| *end > 0 && rest[*end..].starts_with('=')) else {
            return (found, rest);
        };
        let name = rest[..end].to_owned();
        rest = &rest[end + 1..];
        let mut value = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut letters = quoted.char_indices();
            let mut after = quoted.len();
            while let Some((index, letter)) = letters.next() {
                match letter {
                    '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
                    '"' => {
                        after = index + 1;
                        break;
                    }
                    letter => value.push(letter),
                }
            }
            rest = &quoted[after..];
        } else {
            let end = rest.find([',', ' ']).unwrap_or(rest.len());
            value.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        found.push((name, value));
    }
}

/// How a token is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TokenRequest {
    /// With the query of this address.
    Get { url: String, authorization: Option<String> },
    /// With a form, for refresh tokens (OAuth2).
    Post { url: String, form: String },
}

/// The request for a token to pull from a repository.
pub(crate) fn token_request(
    realm: &str,
    service: Option<&str>,
    scope: &str,
    credentials: Option<&Credentials>,
) -> TokenRequest {
    let service = service.unwrap_or_default();
    let mut values = vec![("service", service), ("scope", scope)];
    values.retain(|(_, value)| !value.is_empty());
    let written = |values: &[(&str, &str)]| {
        let pairs = values.iter().map(|(name, value)| format!("{name}={}", percent_encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    match credentials {
        Some(known) if !known.identity_token.is_empty() => {
            values.extend([
                ("grant_type", "refresh_token"),
                ("client_id", "lepton"),
                ("refresh_token", &known.identity_token),
            ]);
            TokenRequest::Post { url: realm.to_owned(), form: written(&values) }
        }
        known => {
            let known = known.filter(|known| !known.username.is_empty());
            let authorization = known.map(|known| basic(&format!("{}:{}", known.username, known.password)));
            let separator = if realm.contains('?') { '&' } else { '?' };
            TokenRequest::Get { url: format!("{realm}{separator}{}", written(&values)), authorization }
        }
    }
}

/// The token in an answer.
pub(crate) fn token(answer: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Answer {
        token: Option<String>,
        access_token: Option<String>,
    }
    let answer: Answer = serde_json::from_slice(answer).ok()?;
    let token = answer.token.filter(|token| !token.is_empty()).or(answer.access_token)?;
    let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_sendable.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        let own = |text: Option<&str>| text.map(str::to_owned);
        Challenge::Bearer { realm: realm.into(), service: own(service), scope: own(scope) }
    }

    #[test]
    fn headers() {
        assert_eq!(challenges("Basic realm=\"x y\""), [Challenge::Basic]);
        assert_eq!(challenges("basic"), [Challenge::Basic]);
        assert_eq!(
            challenges(
                "Bearer realm=\"https://a.example/t\",service=\"s, t\",scope=\"repository:a/b:pull,push\""
            ),
            [bearer("https://a.example/t", Some("s, t"), Some("repository:a/b:pull,push"))]
        );
        assert_eq!(
            challenges("Digest realm=\"a\", Bearer realm=plain , Basic realm=\"q\\\"uote\""),
            [bearer("plain", None, None), Challenge::Basic]
        );
        for header in
            ["", "Bearer", "Bearer service=\"x\"", ",,,", "Bearer realm", "=", "\"", "Bearer realm=\"open"]
        {
            let _ = challenges(header);
        }
    }

    #[test]
    fn requests() {
        let get = |known: Option<&Credentials>| {
            token_request("https://a.example/t?x=1", Some("s t"), "repository:a:pull", known)
        };
        let url = "https://a.example/t?x=1&service=s%20t&scope=repository%3Aa%3Apull".to_owned();
        assert_eq!(get(None), TokenRequest::Get { url: url.clone(), authorization: None });
        let user = Credentials { username: "u".into(), password: "p".into(), ..Credentials::default() };
        assert_eq!(get(Some(&user)), TokenRequest::Get { url, authorization: Some("Basic dTpw".into()) });
        let refresh = Credentials { identity_token: "r&".into(), ..Credentials::default() };
        let TokenRequest::Post { form, .. } = get(Some(&refresh)) else { panic!("a form") };
        assert_eq!(
            form,
            "service=s%20t&scope=repository%3Aa%3Apull&grant_type=refresh_token&client_id=lepton&refresh_token=r%26"
        );
    }

    #[test]
    fn tokens() {
        assert_eq!(token(br#"{"token":"a"}"#).as_deref(), Some("a"));
        assert_eq!(token(br#"{"access_token":"b","expires_in":60}"#).as_deref(), Some("b"));
        for answer in [&b"{}"[..], b"", b"[]", br#"{"token":"a\r\nb"}"#, br#"{"token":""}"#] {
            assert_eq!(token(answer), None);
        }
    }
}
