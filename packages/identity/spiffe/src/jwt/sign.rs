//! An authority that signs JWT-SVIDs by ES256.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::json;

use super::JwtSvid;
use crate::{Curve, PrivateKey, PublicKey, Secret, SpiffeId, UnixSeconds};

/// A P-256 key that signs.
#[derive(Debug)]
pub struct JwtSigner {
    pair: EcdsaKeyPair,
    key_id: String,
    public: PublicKey,
}

impl JwtSigner {
    /// The signer with that key; none when the key is no P-256 key in PKCS#8.
    pub fn new(key: &PrivateKey) -> Option<Self> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_der(), &random).ok()?;
        let public = PublicKey::ec(Curve::P256, pair.public_key().as_ref()).ok()?;
        // A key has one name, whoever computes it.
        let digest = digest(&SHA256, &public.to_spki());
        let key_id = BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref().get(..24).unwrap_or_default());
        Some(Self { pair, key_id, public })
    }

    /// The name of the key in bundles.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key in bundles.
    pub fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs; none when the system has no random numbers.
    pub fn sign(
        &self,
        id: &SpiffeId,
        audience: &[String],
        issued_at: UnixSeconds,
        expires_at: UnixSeconds,
    ) -> Option<JwtSvid> {
        let header = json!({ "alg": "ES256", "kid": self.key_id, "typ": "JWT" });
        let claims = json!({ "sub": id.to_string(), "aud": audience, "iat": issued_at, "exp": expires_at });
        let encoded = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let token = self.sign_text(format!("{}.{}", encoded(header), encoded(claims)))?;
        Some(JwtSvid {
            id: id.clone(),
            audience: audience.to_vec(),
            issued_at: Some(issued_at),
            expires_at,
            token: Secret::new(token),
            hint: String::new(),
        })
    }

    /// Adds a signature to the first two parts of a token.
    pub(super) fn sign_text(&self, mut token: String) -> Option<String> {
        let signature = self.pair.sign(&SystemRandom::new(), token.as_bytes()).ok()?;
        token.push('.');
        token.push_str(&BASE64_URL_SAFE_NO_PAD.encode(signature.as_ref()));
        Some(token)
    }
}
