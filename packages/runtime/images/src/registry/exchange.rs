//! One request to one place until it has an answer: redirects are followed, tokens fetched, passing failures waited for.
//! Credentials never follow a redirect to another server, and https never leads to http.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};

use super::auth::{self, Challenge, TokenRequest};
use super::connect::{Answer, Network};
use super::url::Url;
use super::{Place, RegistryError, Session, Wanted};
use crate::digest::shortened;

/// Bytes of an error's text that are looked at, and of a token service's answer.
const LONGEST_TEXT: u64 = 64 << 10;
const LONGEST_TOKEN: u64 = 1 << 20;
/// Tries of a place that is not the last one: there is another to go to.
const TRIES_OF_MIRRORS: u32 = 2;
/// No pull waits longer because a registry says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A request that can be sent again.
struct Sent<'a> {
    method: Method,
    accept: &'a str,
    range: Option<String>,
    authorization: Option<String>,
    body: Bytes,
}

impl Session {
    /// Asks one place, several times if need be.
    pub(super) async fn ask_place(
        &self,
        index: usize,
        place: &Place,
        wanted: &Wanted<'_>,
        is_last: bool,
    ) -> Result<Answer, RegistryError> {
        let limits = &self.client.limits;
        let tries = if is_last { limits.tries } else { TRIES_OF_MIRRORS.min(limits.tries) };
        let mut pause = limits.pause;
        for left in (0..tries.max(1)).rev() {
            match self.ask_once(index, place, wanted).await {
                Err(error) if error.is_passing() && left > 0 => {
                    let wished = match &error {
                        RegistryError::Status { retry_after, .. } => *retry_after,
                        _ => None,
                    };
                    tokio::time::sleep(wished.unwrap_or(pause).min(LONGEST_PAUSE)).await;
                    pause *= 2;
                }
                done => return done,
            }
        }
        unreachable!("the last try returns")
    }

    async fn ask_once(
        &self,
        index: usize,
        place: &Place,
        wanted: &Wanted<'_>,
    ) -> Result<Answer, RegistryError> {
        let namespace =
            place.namespace.as_ref().map(|name| format!("?ns={}", super::url::percent_encoded(name)));
        let path = format!("{}{}{}", place.url.path, wanted.path, namespace.unwrap_or_default());
        let url = Url { origin: place.url.origin.clone(), path };
        let mut is_fresh = false;
        loop {
            let authorization = self.known_authorization(index);
            let sent = Sent {
                method: wanted.method.clone(),
                accept: wanted.accept,
                range: (wanted.from > 0).then(|| format!("bytes={}-", wanted.from)),
                authorization,
                body: Bytes::new(),
            };
            let mut answer = self.follow(&url, &sent).await?;
            let status = answer.head.status;
            if status.is_success() {
                return Ok(answer);
            }
            let is_own = answer.url.origin == url.origin;
            if status != StatusCode::UNAUTHORIZED || is_fresh || !is_own {
                return Err(refusal(&url, &mut answer).await);
            }
            let asked: Vec<Challenge> = answer
                .head
                .headers
                .get_all(header::WWW_AUTHENTICATE)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .flat_map(auth::challenges)
                .collect();
            let Some(authorization) = self.authorization(place, &asked).await? else {
                return Err(refusal(&url, &mut answer).await);
            };
            // The rest of the refusal is of no use, and its connection is gone with it.
            drop(answer);
            self.authorizations
                .lock()
                .expect("nothing panics while it holds the lock")
                .insert(index, authorization);
            is_fresh = true;
        }
    }

    fn known_authorization(&self, index: usize) -> Option<String> {
        let known = self.authorizations.lock().expect("nothing panics while it holds the lock");
        known.get(&index).cloned()
    }

    /// What satisfies one of the challenges; none when nothing here can.
    async fn authorization(
        &self,
        place: &Place,
        asked: &[Challenge],
    ) -> Result<Option<String>, RegistryError> {
        let credentials = place.credentials.as_ref();
        for challenge in asked {
            if let Challenge::Bearer { realm, service, scope } = challenge {
                let scope = scope.clone().unwrap_or_else(|| format!("repository:{}:pull", self.path));
                let request = auth::token_request(realm, service.as_deref(), &scope, credentials);
                return self.token(place, realm, request).await.map(|token| Some(format!("Bearer {token}")));
            }
        }
        let user = credentials.filter(|known| !known.username.is_empty());
        Ok(user
            .filter(|_| asked.contains(&Challenge::Basic))
            .map(|user| auth::basic(&format!("{}:{}", user.username, user.password))))
    }

    async fn token(
        &self,
        place: &Place,
        realm: &str,
        request: TokenRequest,
    ) -> Result<String, RegistryError> {
        let (method, url, authorization, body) = match request {
            TokenRequest::Get { url, authorization } => (Method::GET, url, authorization, Bytes::new()),
            TokenRequest::Post { url, form } => (Method::POST, url, None, Bytes::from(form)),
        };
        // Only who is asked in plain text may have tokens fetched in plain text.
        let url = Url::parse(&url).filter(|url| url.origin.is_tls || !place.url.origin.is_tls);
        let url = url.ok_or_else(|| RegistryError::Realm {
            host: place.url.origin.authority(),
            realm: shortened(realm),
        })?;
        let sent = Sent { method, accept: "application/json", range: None, authorization, body };
        let mut answer = self.follow(&url, &sent).await?;
        let host = answer.url.origin.authority();
        match answer.head.status {
            status if status.is_success() => {
                let bytes = answer.whole(LONGEST_TOKEN).await?;
                auth::token(&bytes).ok_or(RegistryError::NoToken { host })
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => {
                let detail = detail(&mut answer).await;
                Err(RegistryError::Unauthenticated { host, detail })
            }
            _ => Err(refusal(&url, &mut answer).await),
        }
    }

    /// Sends a request, and follows redirects.
    async fn follow(&self, url: &Url, sent: &Sent<'_>) -> Result<Answer, RegistryError> {
        let client = &self.client;
        let network = Network {
            limits: &client.limits,
            proxies: &client.proxies,
            tls: &client.tls,
            trusts: &client.trusts,
        };
        let mut next = url.clone();
        for _ in 0..=client.limits.redirects {
            let mut request = http::Request::builder()
                .method(sent.method.clone())
                .header(header::USER_AGENT, concat!("lepton/", env!("CARGO_PKG_VERSION")))
                .header(header::ACCEPT, sent.accept);
            if let Some(range) = &sent.range {
                request = request.header(header::RANGE, range);
            }
            if !sent.body.is_empty() {
                request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
            }
            // Credentials are for the server that was asked first.
            if let Some(authorization) = sent.authorization.as_ref().filter(|_| next.origin == url.origin) {
                request = request.header(header::AUTHORIZATION, authorization);
            }
            let answer = network.send(&self.pool, &next, request, &sent.body).await?;
            let is_redirect = matches!(answer.head.status.as_u16(), 301 | 302 | 303 | 307 | 308);
            // A form holds a secret; no token service redirects one.
            if !is_redirect || sent.method == Method::POST {
                return Ok(answer);
            }
            let location = answer.header(header::LOCATION).unwrap_or_default();
            let target = next.join(location).filter(|target| target.origin.is_tls || !next.origin.is_tls);
            next = target.ok_or_else(|| RegistryError::Redirect {
                host: next.origin.authority(),
                location: shortened(location.split('?').next().unwrap_or_default()),
            })?;
        }
        Err(RegistryError::Redirects { host: url.origin.authority(), limit: client.limits.redirects })
    }
}

/// The error of an answer that is none.
async fn refusal(url: &Url, answer: &mut Answer) -> RegistryError {
    let detail = detail(answer).await;
    let (host, url) = (answer.url.origin.authority(), url.to_string());
    match answer.head.status {
        StatusCode::UNAUTHORIZED => RegistryError::Unauthenticated { host, detail },
        StatusCode::FORBIDDEN => RegistryError::Denied { host, detail },
        StatusCode::NOT_FOUND => RegistryError::NotFound { url, detail },
        status => {
            let seconds = answer.header(header::RETRY_AFTER).and_then(|value| value.parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            RegistryError::Status { url, status: status.as_u16(), detail, retry_after }
        }
    }
}

/// `: CODE, message` of the distribution specification's error body, if there is one.
async fn detail(answer: &mut Answer) -> String {
    #[derive(serde::Deserialize)]
    struct Body {
        errors: Vec<Problem>,
    }
    #[derive(serde::Deserialize)]
    struct Problem {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let bytes = answer.whole(LONGEST_TEXT).await.unwrap_or_default();
    let Ok(body) = serde_json::from_slice::<Body>(&bytes) else { return String::new() };
    let clean = |text: &str| shortened(&text.replace(char::is_control, " "));
    body.errors
        .first()
        .map(|problem| format!(": {}, {}", clean(&problem.code), clean(&problem.message)))
        .unwrap_or_default()
}
