//! Bundles as JWK sets: SPIFFE Trust Domain and Bundle sections 4 and 5.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::{Bundle, BundleError, JwtAuthority};
use crate::{Certificate, Curve, PublicKey, TrustDomain};

impl Bundle {
    /// Reads a JWK set. Keys of an unknown use are left out, as the specification wants it.
    pub fn from_jwks(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        let jwks = |error: String| BundleError::Jwks(error);
        let document: Value = serde_json::from_slice(text).map_err(|error| jwks(error.to_string()))?;
        let keys = document.get("keys").ok_or_else(|| jwks("it has no keys".to_owned()))?;
        // go-spiffe writes null for none.
        let empty = Vec::new();
        let keys = match keys {
            Value::Null => &empty,
            other => other.as_array().ok_or_else(|| jwks("keys is no list".to_owned()))?,
        };
        let number = |name: &str| match document.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| jwks(format!("{name} is no number from 0 on")))
            }
        };
        let mut bundle = Self::empty(trust_domain);
        bundle.sequence = number("spiffe_sequence")?;
        bundle.refresh_hint = number("spiffe_refresh_hint")?;
        for (place, key) in keys.iter().enumerate() {
            bundle.add_key(place + 1, key)?;
        }
        Ok(bundle)
    }

    fn add_key(&mut self, place: usize, key: &Value) -> Result<(), BundleError> {
        let bad = |why: &str| BundleError::Key { place, why: why.to_owned() };
        match text(key, "use") {
            Some("x509-svid") => {
                let chain = key.get("x5c").and_then(Value::as_array).ok_or_else(|| bad("it has no x5c"))?;
                let [one] = chain.as_slice() else { return Err(bad("x5c holds exactly one certificate")) };
                let der = one.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
                let der = der.ok_or_else(|| bad("x5c is no base64"))?;
                self.add(CertificateDer::from(der)).map_err(|error| match error {
                    BundleError::Certificate { source, .. } => BundleError::Certificate { place, source },
                    other => other,
                })
            }
            Some("jwt-svid") => {
                let id = text(key, "kid").filter(|id| !id.is_empty()).ok_or_else(|| bad("it has no kid"))?;
                let key =
                    public_key(key).map_err(|why| bad(why.unwrap_or("its kind is neither EC nor RSA")))?;
                self.jwt_authorities.insert(id.to_owned(), JwtAuthority { key, expires_at: None });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// All of it as a JWK set.
    pub fn to_jwks(&self) -> String {
        self.jwks(true).to_string()
    }

    /// The keys of JWT-SVIDs alone as a JWK set, as the Workload API sends them.
    pub fn to_jwt_jwks(&self) -> String {
        self.jwks(false).to_string()
    }

    fn jwks(&self, with_x509: bool) -> Value {
        let mut keys = Vec::new();
        if with_x509 {
            for certificate in &self.x509_authorities {
                let key = Certificate::read(certificate).ok().and_then(|facts| facts.key().ok());
                // Certificates with other keys lead nowhere here, and a JWK must say its kind.
                let Some(key) = key else { continue };
                let mut jwk = jwk(&key);
                jwk.insert("use".to_owned(), json!("x509-svid"));
                jwk.insert("x5c".to_owned(), json!([BASE64_STANDARD.encode(certificate)]));
                keys.push(Value::Object(jwk));
            }
        }
        for (id, authority) in &self.jwt_authorities {
            let mut jwk = jwk(&authority.key);
            // A set of JWT keys alone is a plain JWK set, as SPIRE's agent sends it: it has no use.
            if with_x509 {
                jwk.insert("use".to_owned(), json!("jwt-svid"));
            }
            jwk.insert("kid".to_owned(), json!(id));
            keys.push(Value::Object(jwk));
        }
        let mut document = Map::new();
        document.insert("keys".to_owned(), Value::Array(keys));
        if with_x509 {
            for (name, value) in
                [("spiffe_sequence", self.sequence), ("spiffe_refresh_hint", self.refresh_hint)]
            {
                if let Some(value) = value {
                    document.insert(name.to_owned(), json!(value));
                }
            }
        }
        Value::Object(document)
    }
}

fn text<'a>(key: &'a Value, name: &str) -> Option<&'a str> {
    key.get(name).and_then(Value::as_str)
}

fn jwk(key: &PublicKey) -> Map<String, Value> {
    let encoded = |bytes: &[u8]| Value::String(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let mut jwk = Map::new();
    match key {
        PublicKey::Ec { curve, point } => {
            let (x, y) = PublicKey::coordinates(*curve, point).unwrap_or_default();
            jwk.insert("kty".to_owned(), json!("EC"));
            jwk.insert("crv".to_owned(), json!(curve.name()));
            jwk.insert("x".to_owned(), encoded(x));
            jwk.insert("y".to_owned(), encoded(y));
        }
        PublicKey::Rsa { n, e } => {
            jwk.insert("kty".to_owned(), json!("RSA"));
            jwk.insert("n".to_owned(), encoded(n));
            jwk.insert("e".to_owned(), encoded(e));
        }
    }
    jwk
}

/// The key that a JWK's numbers make; no text when its kind is unknown.
fn public_key(jwk: &Value) -> Result<PublicKey, Option<&'static str>> {
    let number = |name: &str| {
        let text = text(jwk, name).ok_or(Some("one of its numbers is missing"))?;
        BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| Some("one of its numbers is no base64url"))
    };
    let bounds = |_| Some("its numbers are out of bounds");
    match text(jwk, "kty") {
        Some("EC") => {
            let curve = text(jwk, "crv").and_then(Curve::of_name);
            let curve = curve.ok_or(Some("its curve is none of P-256, P-384 and P-521"))?;
            PublicKey::ec_of_coordinates(curve, &number("x")?, &number("y")?).map_err(bounds)
        }
        Some("RSA") => PublicKey::rsa(&number("n")?, &number("e")?).map_err(bounds),
        _ => Err(None),
    }
}
