//! JWT-SVIDs: read, verified, and signed by an authority of ours.

mod algorithm;
mod sign;
#[cfg(test)]
mod tests;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::{Bundle, Secret, SpiffeId, SpiffeIdError, UnixSeconds};

use algorithm::Algorithm;
pub use sign::JwtSigner;

/// Clocks of hosts differ by so many seconds (go-spiffe and SPIRE allow a minute, too).
const LEEWAY: i64 = 60;
/// No token is longer; servers of HTTP take less than that in a header.
const LONGEST: usize = 64 * 1024;
/// Names that one token may be for.
const MOST_AUDIENCES: usize = 256;

/// A JWT-SVID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtSvid {
    /// Who.
    pub id: SpiffeId,
    /// For whom, one at least.
    pub audience: Vec<String>,
    /// When it was made, where it says.
    pub issued_at: Option<UnixSeconds>,
    /// Until when it is good.
    pub expires_at: UnixSeconds,
    /// The token itself.
    pub token: Secret,
    /// What tells it from others of the same workload; may be empty. It is no part of the token.
    pub hint: String,
}

/// Why a token is refused. It never holds any of the token's text but names of algorithms and keys.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtSvidError {
    /// It is something else, or too long.
    #[error("this is no JWT in compact form")]
    Malformed,
    /// It has extensions that must be understood.
    #[error("the token's header has {0}, which nobody here understands")]
    Header(&'static str),
    /// Its `typ`.
    #[error("the token is of the type {0:?}; a JWT-SVID is of the type JWT or JOSE, or of none")]
    Type(String),
    /// Its `alg`.
    #[error("the token is signed by {0:?}, which no JWT-SVID may be")]
    Algorithm(String),
    /// Nothing here verifies it.
    #[error("the token is signed by ES512, which cannot be verified here")]
    Es512,
    /// A claim that must be there.
    #[error("the token has no claim {0}, or it is of the wrong kind")]
    Claim(&'static str),
    /// Its subject.
    #[error("the token's subject: {0}")]
    Subject(#[from] SpiffeIdError),
    /// It is for others.
    #[error("the token is not for the audience {0:?}")]
    Audience(String),
    /// It is too old.
    #[error("the token has expired")]
    Expired,
    /// It is too young.
    #[error("the token is not valid yet; is the clock right?")]
    Early,
    /// It names no key.
    #[error("the token names no key (kid)")]
    NoKey,
    /// Nobody has that key.
    #[error("the bundle of {0} does not have the key of the token")]
    UnknownKey(crate::TrustDomain),
    /// There is no bundle.
    #[error("there is no bundle of the trust domain {0}")]
    UnknownTrustDomain(crate::TrustDomain),
    /// It was not signed so.
    #[error("the token's signature is wrong")]
    Signature,
}

/// The parts of a token before anything is believed.
struct Parts<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Self, JwtSvidError> {
        let malformed = || JwtSvidError::Malformed;
        if token.len() > LONGEST {
            return Err(malformed());
        }
        let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
        let (header, claims) = signed.split_once('.').ok_or_else(malformed)?;
        let decoded = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let object = |part: &str| match serde_json::from_slice(&decoded(part)?) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(malformed()),
        };
        let (header, claims) = (object(header)?, object(claims)?);
        for (name, said) in [("crit", "critical extensions"), ("b64", "an unencoded payload")] {
            if header.contains_key(name) {
                return Err(JwtSvidError::Header(said));
            }
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(kind)) if kind == "JWT" || kind == "JOSE" => {}
            Some(other) => return Err(JwtSvidError::Type(short(other))),
        }
        let name = header.get("alg").and_then(Value::as_str).ok_or_else(malformed)?;
        let algorithm = Algorithm::of_name(name);
        let algorithm = algorithm.ok_or_else(|| JwtSvidError::Algorithm(name.chars().take(40).collect()))?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { signed, signature: decoded(signature)?, algorithm, key_id, claims })
    }

    fn svid(&self, token: &str) -> Result<JwtSvid, JwtSvidError> {
        let subject = self.claims.get("sub").and_then(Value::as_str).ok_or(JwtSvidError::Claim("sub"))?;
        let id: SpiffeId = subject.parse()?;
        let audience = match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) if !many.is_empty() && many.len() <= MOST_AUDIENCES => {
                let texts = many.iter().map(|one| one.as_str().map(str::to_owned)).collect();
                let texts: Option<Vec<_>> = texts;
                texts.ok_or(JwtSvidError::Claim("aud"))?
            }
            _ => return Err(JwtSvidError::Claim("aud")),
        };
        let expires_at = time(&self.claims, "exp")?.ok_or(JwtSvidError::Claim("exp"))?;
        let issued_at = time(&self.claims, "iat")?;
        let (token, hint) = (Secret::new(token.to_owned()), String::new());
        Ok(JwtSvid { id, audience, issued_at, expires_at, token, hint })
    }
}

/// A NumericDate (RFC 7519 section 2), which may have a fraction.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<UnixSeconds>, JwtSvidError> {
    /// Until here every whole number is one of IEEE 754's, too.
    const LAST: f64 = 9_007_199_254_740_992.0;
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            #[expect(clippy::cast_possible_truncation, reason = "it is within the bounds")]
            let of_fraction = |number: f64| (number.abs() < LAST).then(|| number.floor() as i64);
            let seconds = number.as_i64().or_else(|| number.as_f64().and_then(of_fraction));
            seconds.map(Some).ok_or(JwtSvidError::Claim(name))
        }
        Some(_) => Err(JwtSvidError::Claim(name)),
    }
}

fn short(value: &Value) -> String {
    value.as_str().unwrap_or("(no text)").chars().take(40).collect()
}

impl JwtSvid {
    /// Reads a token that comes from where it is believed without a look at its signature: the authority itself.
    pub fn read_unverified(token: &str) -> Result<Self, JwtSvidError> {
        Parts::of(token)?.svid(token)
    }

    /// Verifies a token of anyone: JWT-SVID sections 2 to 5. `bundle` gives the bundle of a trust domain. The claims of
    /// one that is good come with it.
    pub fn verify<'a>(
        token: &str,
        audience: &str,
        bundle: impl FnOnce(&crate::TrustDomain) -> Option<&'a Bundle>,
        now: UnixSeconds,
    ) -> Result<(Self, Map<String, Value>), JwtSvidError> {
        let parts = Parts::of(token)?;
        let svid = parts.svid(token)?;
        let domain = svid.id.trust_domain();
        let key_id = parts.key_id.as_deref().filter(|id| !id.is_empty()).ok_or(JwtSvidError::NoKey)?;
        let bundle = bundle(domain).ok_or_else(|| JwtSvidError::UnknownTrustDomain(domain.clone()))?;
        let key = bundle.jwt_authorities.get(key_id);
        let key = key.ok_or_else(|| JwtSvidError::UnknownKey(domain.clone()))?;
        parts.algorithm.verify(&key.key, parts.signed.as_bytes(), &parts.signature)?;
        if !svid.audience.iter().any(|one| one == audience) {
            return Err(JwtSvidError::Audience(audience.to_owned()));
        }
        if now.saturating_sub(LEEWAY) >= svid.expires_at {
            return Err(JwtSvidError::Expired);
        }
        let from = [time(&parts.claims, "nbf")?, svid.issued_at];
        if from.into_iter().flatten().any(|from| from > now.saturating_add(LEEWAY)) {
            return Err(JwtSvidError::Early);
        }
        Ok((svid, parts.claims))
    }
}
