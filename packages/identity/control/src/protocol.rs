//! Requests and answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{MAX_REQUEST, VERSION};

/// One line of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Message {
    /// The protocol that the client speaks. Without it: [`VERSION`].
    #[serde(default = "version")]
    pub version: u32,
    /// What it asks.
    pub request: Request,
}

fn version() -> u32 {
    VERSION
}

/// A text that is shown to nobody: a key or a token. It is overwritten when it is dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(Zeroizing<String>);

impl Text {
    /// The text to hide.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text. Take care where it goes.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// How the host's identity is: answered by [`Answer::Status`].
    Status,
    /// The host's identity and those of its workloads: answered by [`Answer::Identities`].
    Show,
    /// X.509-SVIDs with their keys: answered by [`Answer::X509`].
    FetchX509 {
        /// Whose; those of all workloads unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spiffe_id: Option<String>,
    },
    /// JWT-SVIDs: answered by [`Answer::Jwt`].
    FetchJwt {
        /// For whom, one at least.
        audience: Vec<String>,
        /// Whose; those of all workloads unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spiffe_id: Option<String>,
    },
    /// Asks the authority for entries and bundles now and makes every SVID anew: answered by [`Answer::Done`].
    Refresh,
    /// Joins the trust domain of the machine config: answered by [`Answer::Status`] when that is done.
    Join {
        /// A token of the server for one host and one use. Without it: by what the machine config says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<Text>,
    },
    /// Leaves the trust domain: the server is told to forget the host where it lets hosts do so, and all keys of the
    /// host are overwritten and removed. Answered by [`Answer::Done`].
    Leave {
        /// Whether keys go even when the server cannot be asked.
        #[serde(default)]
        force: bool,
    },
    /// Waits until SVIDs can be had: answered by [`Answer::Status`], or [`ErrorKind::Timeout`].
    WaitReady {
        /// Seconds to wait; for good unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout_s: Option<u64>,
    },
    /// Figures in the OpenMetrics text format: answered by [`Answer::Metrics`].
    Metrics,
    /// A trust bundle: answered by [`Answer::Bundle`].
    Bundle {
        /// Whose; the host's own trust domain unless given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trust_domain: Option<String>,
    },
}

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadRequest {
    /// It is no JSON, or of another shape. The text of the line is not shown: it may hold a token.
    #[error("this is no request: column {0}")]
    Malformed(usize),
    /// The client is of another version of the system.
    #[error("the agent speaks version {VERSION} of the protocol, and the request is of version {0}")]
    Version(u32),
    /// It is longer than [`MAX_REQUEST`].
    #[error("a request has at most {MAX_REQUEST} bytes")]
    Long,
}

impl Request {
    /// The line that asks this, with its end.
    pub fn to_line(&self) -> Zeroizing<String> {
        let message = Message { version: VERSION, request: self.clone() };
        let mut line = serde_json::to_string(&message).expect("requests are made of text and numbers");
        line.push('\n');
        Zeroizing::new(line)
    }

    /// Reads a line.
    pub fn from_line(line: &[u8]) -> Result<Self, BadRequest> {
        if line.len() > MAX_REQUEST {
            return Err(BadRequest::Long);
        }
        let message: Message =
            serde_json::from_slice(line).map_err(|error| BadRequest::Malformed(error.column()))?;
        if message.version != VERSION {
            return Err(BadRequest::Version(message.version));
        }
        Ok(message.request)
    }
}

/// One line of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Answer {
    /// It is done.
    Done,
    /// The request was refused.
    Error {
        /// What kind of mistake it is.
        kind: ErrorKind,
        /// The mistake, for people.
        message: String,
    },
    /// How the host's identity is.
    Status(Box<Status>),
    /// The host's identity, then those of its workloads by SPIFFE ID.
    Identities(Vec<Identity>),
    /// X.509-SVIDs with their keys.
    X509(Vec<X509>),
    /// JWT-SVIDs.
    Jwt(Vec<Jwt>),
    /// Figures in the OpenMetrics text format.
    Metrics(String),
    /// A trust bundle.
    Bundle(BundleText),
}

impl Answer {
    /// The line that says this, with its end.
    pub fn to_line(&self) -> Zeroizing<String> {
        let mut line = serde_json::to_string(self).expect("answers are made of text, numbers and lists");
        line.push('\n');
        Zeroizing::new(line)
    }

    /// A refusal.
    pub fn error(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self::Error { kind, message: message.into() }
    }
}

/// Kinds of mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// The line is no request, or a name in it is no good.
    BadRequest,
    /// The client may not ask this.
    NotAllowed,
    /// There is no such identity or bundle on this host.
    NotFound,
    /// It cannot be done in this state, or the server has refused it.
    Refused,
    /// No server can be reached.
    Unavailable,
    /// It did not come in time.
    Timeout,
    /// The host itself failed: a disk, memory, random numbers.
    Failed,
}

/// Where the host is with its identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// No server is configured: the host is a trust domain of its own.
    Alone,
    /// It is about to join, for the first time or again.
    Joining,
    /// It has joined, and the preferred server answers.
    Ready,
    /// It has joined, and another server than the preferred one answers.
    OffSite,
    /// It has joined, and no server answers: SVIDs are served until they expire.
    Degraded,
    /// Its own SVID has expired, and it could not join again yet.
    Expired,
    /// The server does not want it any more: it was evicted or banned.
    Evicted,
    /// It was told to leave.
    Left,
    /// It cannot join by itself: somebody has to change something.
    Failed,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Alone,
        Self::Joining,
        Self::Ready,
        Self::OffSite,
        Self::Degraded,
        Self::Expired,
        Self::Evicted,
        Self::Left,
        Self::Failed,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Joining => "joining",
            Self::Ready => "ready",
            Self::OffSite => "off-site",
            Self::Degraded => "degraded",
            Self::Expired => "expired",
            Self::Evicted => "evicted",
            Self::Left => "left",
            Self::Failed => "failed",
        }
    }

    /// Whether workloads get SVIDs that are good.
    pub fn serves(self) -> bool {
        matches!(self, Self::Alone | Self::Ready | Self::OffSite | Self::Degraded)
    }

    /// What a command line that shows the state ends with: each state has a number of its own, and 0 is for those with
    /// nothing to do.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Alone | Self::Ready => 0,
            Self::OffSite => 10,
            Self::Degraded => 11,
            Self::Joining => 12,
            Self::Expired => 13,
            Self::Evicted => 14,
            Self::Left => 15,
            Self::Failed => 16,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How the host's identity is. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Where it is with its identity.
    pub state: State,
    /// Since when.
    pub since: i64,
    /// Its trust domain.
    pub trust_domain: String,
    /// Its SPIFFE ID, once it has one.
    pub spiffe_id: Option<String>,
    /// Serial number of its X.509-SVID, decimal.
    pub serial: Option<String>,
    /// From when on that is good.
    pub not_before: Option<i64>,
    /// Until when that is good.
    pub expires_at: Option<i64>,
    /// Seconds until then; negative when it is over.
    pub expires_in_s: Option<i64>,
    /// How it joins: `join_token`, `x509pop`; none when it is alone.
    pub attestor: Option<String>,
    /// Whether it can join again by itself.
    pub reattestable: bool,
    /// The server that it uses, or used last.
    pub server: Option<String>,
    /// All servers, the preferred one first.
    pub servers: Vec<ServerStatus>,
    /// Entries that the authority has for this host.
    pub entries: u64,
    /// X.509-SVIDs of workloads that are ready to be served.
    pub svids: u64,
    /// When the authority was last asked with success.
    pub last_sync: Option<i64>,
    /// What went wrong last, and has not gone well since.
    pub last_error: Option<String>,
    /// Number of the trust bundle, where the source counts.
    pub bundle_sequence: Option<u64>,
    /// Whether the host's identity is on a disk and so survives a restart.
    pub persistent: bool,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServerStatus {
    /// Its address and port.
    pub address: String,
    /// Whether it answered when it was last asked; none when it was not asked yet.
    pub answers: Option<bool>,
    /// The time of that answer's way there and back, in microseconds.
    pub round_trip_us: Option<u64>,
    /// Why it did not answer.
    pub last_error: Option<String>,
}

/// Whom an identity is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IdentityKind {
    /// The host.
    Host,
    /// A workload of the host.
    Workload,
}

/// One identity, without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Identity {
    /// Whom it is for.
    pub kind: IdentityKind,
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// Name of the entry at the authority; empty for the host.
    pub entry: String,
    /// Selectors that a workload needs to get it, all of them.
    pub selectors: Vec<String>,
    /// DNS names of the X.509-SVID.
    pub dns_names: Vec<String>,
    /// What tells it from others of one workload.
    pub hint: String,
    /// Serial number of the X.509-SVID, decimal, once there is one.
    pub serial: Option<String>,
    /// From when on that is good.
    pub not_before: Option<i64>,
    /// Until when that is good.
    pub expires_at: Option<i64>,
    /// Seconds that the entry asks for, when the authority has given less.
    pub capped_from_s: Option<i64>,
    /// Trust domains whose bundles come with it.
    pub federates_with: Vec<String>,
}

/// An X.509-SVID with its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct X509 {
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The certificates in PEM, its own first.
    pub chain: String,
    /// The key in PEM (PKCS#8).
    pub key: Text,
    /// Authorities of its trust domain in PEM.
    pub bundle: String,
    /// Until when it is good.
    pub expires_at: i64,
    /// What tells it from others of one workload.
    pub hint: String,
}

/// A JWT-SVID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Jwt {
    /// The SPIFFE ID.
    pub spiffe_id: String,
    /// The token.
    pub token: Text,
    /// Until when it is good.
    pub expires_at: i64,
    /// What tells it from others of one workload.
    pub hint: String,
}

/// A trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct BundleText {
    /// Whose.
    pub trust_domain: String,
    /// X.509 authorities in PEM.
    pub pem: String,
    /// All of it as a SPIFFE JWK set.
    pub jwks: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines() {
        let lines = [
            (Request::Status, r#"{"version":1,"request":"status"}"#),
            (Request::FetchX509 { spiffe_id: None }, r#"{"version":1,"request":{"fetch-x509":{}}}"#),
            (
                Request::FetchJwt { audience: vec!["a".into()], spiffe_id: Some("spiffe://td/a".into()) },
                r#"{"version":1,"request":{"fetch-jwt":{"audience":["a"],"spiffe-id":"spiffe://td/a"}}}"#,
            ),
            (
                Request::Join { token: Some(Text::new("t".into())) },
                r#"{"version":1,"request":{"join":{"token":"t"}}}"#,
            ),
            (
                Request::WaitReady { timeout_s: Some(5) },
                r#"{"version":1,"request":{"wait-ready":{"timeout-s":5}}}"#,
            ),
        ];
        for (request, line) in lines {
            assert_eq!(request.to_line().trim_end(), line);
            assert_eq!(Request::from_line(line.as_bytes()).unwrap(), request);
        }
        assert_eq!(Request::from_line(br#"{"request":"metrics"}"#).unwrap(), Request::Metrics);
        let leave = Request::from_line(br#"{"request":{"leave":{}}}"#).unwrap();
        assert_eq!(leave, Request::Leave { force: false });
    }

    #[test]
    fn bad_requests_show_nothing() {
        for bad in [
            "",
            "{}",
            r#"{"request":"steal"}"#,
            r#"{"request":"status","more":1}"#,
            r#"{"request":{"join":{"token":"secret","x":1}}}"#,
            r#"{"request":{"join":{"token":{"secret":1}}}}"#,
        ] {
            let error = Request::from_line(bad.as_bytes()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        assert!(matches!(
            Request::from_line(br#"{"version":2,"request":"status"}"#),
            Err(BadRequest::Version(2))
        ));
        assert!(matches!(Request::from_line(&[b' '; MAX_REQUEST + 1]), Err(BadRequest::Long)));
        let request = Request::Join { token: Some(Text::new("secret".into())) };
        assert!(!format!("{request:?}").contains("secret"));
    }

    #[test]
    fn states_have_words_and_numbers() {
        for state in State::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        let mut codes: Vec<u8> = State::ALL.into_iter().map(State::exit_code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), State::ALL.len() - 1, "only ready and alone share one");
    }
}
