//! `x509pop`: the host has a certificate of an authority that the server trusts, and signs what the server makes up.
//!
//! Both sides make up 32 bytes; the host signs the two one after the other, by ECDSA or RSA-PSS with SHA-256.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa::KeyPair as RsaKeyPair;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PSS_SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::{AttestError, NodeAttestor};

const NONCE: usize = 32;

/// A certificate with its key.
#[derive(Debug)]
pub(crate) struct X509popAttestor {
    chain: Vec<CertificateDer<'static>>,
    key: Key,
}

enum Key {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl X509popAttestor {
    /// With that certificate and key, both PEM.
    pub(crate) fn new(certificate: &str, key: &str) -> Result<Self, AttestError> {
        let bad = |key, why: String| AttestError::Config { key, why };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| bad("x509pop.certificate", error.to_string()))?;
        let first = chain.first();
        let first = first.ok_or_else(|| bad("x509pop.certificate", "there is no certificate".to_owned()))?;
        lepton_spiffe::Certificate::read(first)
            .map_err(|error| bad("x509pop.certificate", error.to_string()))?;
        let der = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|error| bad("x509pop.key", error.to_string()))?;
        let key = match &der {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).ok().map(Key::Rsa),
            PrivateKeyDer::Sec1(_) => ecdsa_of_sec1(&der),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let random = SystemRandom::new();
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
                    .map(Key::Ecdsa)
                    .or_else(|_| RsaKeyPair::from_pkcs8(der).map(Key::Rsa))
                    .ok()
            }
            _ => None,
        };
        let key = key.ok_or_else(|| {
            bad("x509pop.key", "it is neither a P-256 key nor an RSA key of 2048 to 4096 bits".to_owned())
        })?;
        Ok(Self { chain, key })
    }

    fn sign(&self, message: &[u8]) -> Result<(&'static str, Value), AttestError> {
        let (random, failed) = (SystemRandom::new(), || AttestError::Sign("x509pop"));
        match &self.key {
            Key::Ecdsa(pair) => {
                let signature = pair.sign(&random, message).map_err(|_| failed())?;
                let (r, s) = signature.as_ref().split_at_checked(32).ok_or_else(failed)?;
                Ok(("ecdsa_signature", json!({ "r": encoded(r), "s": encoded(s) })))
            }
            Key::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &random, message, &mut signature).map_err(|_| failed())?;
                Ok(("rsa_signature", json!({ "signature": encoded(&signature) })))
            }
        }
    }
}

/// ring reads the key of an elliptic curve from PKCS#8 only.
fn ecdsa_of_sec1(der: &PrivateKeyDer<'_>) -> Option<Key> {
    let pair = rcgen::KeyPair::from_der_and_sign_algo(der, &rcgen::PKCS_ECDSA_P256_SHA256).ok()?;
    let pkcs8 = zeroize::Zeroizing::new(pair.serialize_der());
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8, &SystemRandom::new());
    pair.ok().map(Key::Ecdsa)
}

/// As Go's JSON has bytes.
fn encoded(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

impl NodeAttestor for X509popAttestor {
    fn name(&self) -> &'static str {
        "x509pop"
    }

    fn payload(&self) -> Result<Vec<u8>, AttestError> {
        let chain: Vec<_> = self.chain.iter().map(|certificate| encoded(certificate)).collect();
        Ok(json!({ "certificates": chain }).to_string().into_bytes())
    }

    fn respond(&self, challenge: &[u8]) -> Result<Vec<u8>, AttestError> {
        let unknown = || AttestError::Challenge("x509pop");
        let challenge: Value = serde_json::from_slice(challenge).map_err(|_| unknown())?;
        let kind = match self.key {
            Key::Ecdsa(_) => "ecdsa_signature",
            Key::Rsa(_) => "rsa_signature",
        };
        let theirs = challenge.get(kind).and_then(|part| part.get("nonce")).and_then(Value::as_str);
        let theirs = theirs.and_then(|text| BASE64_STANDARD.decode(text).ok()).ok_or_else(unknown)?;
        // Anything of another length could be a message that means something elsewhere.
        if theirs.len() != NONCE {
            return Err(unknown());
        }
        let mut ours = [0; NONCE];
        SystemRandom::new().fill(&mut ours).map_err(|_| AttestError::Sign("x509pop"))?;
        let (kind, mut answer) = self.sign(&[&theirs[..], &ours[..]].concat())?;
        if let Some(answer) = answer.as_object_mut() {
            answer.insert("nonce".to_owned(), Value::String(encoded(&ours)));
        }
        Ok(json!({ kind: answer }).to_string().into_bytes())
    }

    fn can_repeat(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
    use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    use super::*;

    #[test]
    fn what_is_asked_is_signed() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        let attestor = X509popAttestor::new(&certificate.pem(), &pair.serialize_pem()).unwrap();
        let payload: Value = serde_json::from_slice(&attestor.payload().unwrap()).unwrap();
        assert_eq!(payload["certificates"][0], encoded(certificate.der()));

        let theirs = [7; NONCE];
        let challenge = json!({ "rsa_signature": null, "ecdsa_signature": { "nonce": encoded(&theirs) } });
        let answer = attestor.respond(challenge.to_string().as_bytes()).unwrap();
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let bytes =
            |name: &str| BASE64_STANDARD.decode(answer["ecdsa_signature"][name].as_str().unwrap()).unwrap();
        let message = [&theirs[..], &bytes("nonce")].concat();
        let signature = [bytes("r"), bytes("s")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.der_bytes())
            .verify(&message, &signature)
            .unwrap();
    }

    #[test]
    fn what_is_not_its_business_is_not_signed() {
        let pair = KeyPair::generate().unwrap();
        let certificate = CertificateParams::default().self_signed(&pair).unwrap();
        let attestor = X509popAttestor::new(&certificate.pem(), &pair.serialize_pem()).unwrap();
        for challenge in [
            json!({}),
            json!({ "rsa_signature": { "nonce": encoded(&[0; NONCE]) } }),
            json!({ "ecdsa_signature": { "nonce": encoded(&[0; 31]) } }),
            json!({ "ecdsa_signature": { "nonce": "!" } }),
        ] {
            assert!(attestor.respond(challenge.to_string().as_bytes()).is_err(), "{challenge}");
        }
        assert!(attestor.respond(b"").is_err());
        let refused = X509popAttestor::new(&certificate.pem(), &certificate.pem()).unwrap_err();
        assert!(refused.to_string().starts_with("identity.x509pop.key"), "{refused}");
        assert!(X509popAttestor::new("", &pair.serialize_pem()).is_err());
    }
}
