//! Verifies a JWT (RFC 7519) of ES256 by a JWK set, as a relying party does that knows nothing of SPIFFE.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

/// The claims, when one of the keys has signed them.
pub(crate) fn verified(token: &str, keys: &Value) -> Result<Value, String> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|error| error.to_string());
    let (signed, signature) = token.rsplit_once('.').ok_or("it is no JWT")?;
    let (head, claims) = signed.split_once('.').ok_or("it is no JWT")?;
    let head: Value = serde_json::from_slice(&decode(head)?).map_err(|error| error.to_string())?;
    if head["alg"] != "ES256" {
        return Err(format!("it is signed by {}", head["alg"]));
    }
    let list = keys["keys"].as_array().ok_or("there are no keys")?;
    let key = list.iter().find(|key| key["kid"] == head["kid"]).ok_or("no key has its name")?;
    let part = |name: &str| decode(key[name].as_str().unwrap_or_default());
    let point = [vec![4], part("x")?, part("y")?].concat();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &decode(signature)?)
        .map_err(|_| "the signature is not of that key".to_owned())?;
    serde_json::from_slice(&decode(claims)?).map_err(|error| error.to_string())
}
