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
use zeroize::Zeroizing;

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
            PrivateKeyDer::Sec1(der) => ecdsa(&pkcs8_of_sec1(der.secret_sec1_der())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                ecdsa(der).or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Key::Rsa))
            }
            _ => None,
        };
        let key = key.ok_or_else(|| {
            bad(
                "x509pop.key",
                "it is neither a P-256 key with its public key nor an RSA key of 2048 to 4096 bits"
                    .to_owned(),
            )
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

fn ecdsa(pkcs8: &[u8]) -> Option<Key> {
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new());
    pair.ok().map(Key::Ecdsa)
}

/// An `ECPrivateKey` (RFC 5915) in a `PrivateKeyInfo` (RFC 5208) that calls it one of P-256: ring reads keys of elliptic curves
/// from PKCS#8 only. Whether it is such a key ring finds out.
fn pkcs8_of_sec1(sec1: &[u8]) -> Zeroizing<Vec<u8>> {
    // INTEGER 0, and the AlgorithmIdentifier of id-ecPublicKey with prime256v1 (RFC 5480).
    const HEAD: [u8; 24] = [
        0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
        0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
    ];
    const SEQUENCE: u8 = 0x30;
    const OCTET_STRING: u8 = 0x04;
    let key = der(OCTET_STRING, &[sec1]);
    der(SEQUENCE, &[&HEAD, &key])
}

/// A value in DER (X.690 section 10.1) out of parts.
fn der(tag: u8, parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let bytes = length.to_be_bytes();
    let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
    // All at once: a vector that grows leaves copies behind.
    let mut value = Zeroizing::new(Vec::with_capacity(length + 2 + bytes.len()));
    value.push(tag);
    match (length, u8::try_from(length)) {
        (..0x80, Ok(short)) => value.push(short),
        // At most eight bytes.
        _ => {
            value.push(0x80 | u8::try_from(bytes.len()).unwrap_or_default());
            value.extend_from_slice(bytes);
        }
    }
    parts.iter().for_each(|part| value.extend_from_slice(part));
    value
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

    /// Keys as OpenSSL writes them (`openssl ecparam -genkey`), made for these tests alone: of P-256, the same without its
    /// public key, and of P-384.
    const SEC1: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIMaplGGhVeWR3U45kfHFx9GB+Q1yC/dP1DnVYuUzJlH5oAoGCCqGSM49\n\
        AwEHoUQDQgAEvzfSyI3YQphJHLwp/CoHy6QBN/SbsqEYd6rh0vN4o8ncCJ5aG7g8\n\
        zz2w0cG6bmnY43MDcxYBy1NIXNw3yg44wg==\n-----END EC PRIVATE KEY-----\n";
    const WITHOUT_PUBLIC_KEY: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MDECAQEEIMaplGGhVeWR3U45kfHFx9GB+Q1yC/dP1DnVYuUzJlH5oAoGCCqGSM49\n\
        AwEH\n-----END EC PRIVATE KEY-----\n";
    const P384: &str = "-----BEGIN EC PRIVATE KEY-----\n\
        MIGkAgEBBDBkvr1B18am7cZD1Oq9Mq19AYV7kx8Lqzanks9amrtUSMbVFqgXwwzT\n\
        L3zTssmLCUagBwYFK4EEACKhZANiAAQvIoj7BQes89CjUOue3FFapFvAj3taY8Zg\n\
        3/dd3WSVk7iFdE9gtzQwC8nwd0EPu+yaNcMsdHwFcDY1y4In9T+t5OhLS76ci7mk\n\
        X7a/sQcbik3AE1PWEIyiReXfx1Y7ETM=\n-----END EC PRIVATE KEY-----\n";
    /// The point of the first one, as OpenSSL says it.
    const POINT: &str =
        "BL830siN2EKYSRy8KfwqB8ukATf0m7KhGHeq4dLzeKPJ3AieWhu4PM89sNHBum5p2ONzA3MWActTSFzcN8oOOMI=";

    #[test]
    fn keys_of_sec_1_sign() {
        let certificate = CertificateParams::default().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let attestor = X509popAttestor::new(&certificate.pem(), SEC1).unwrap();
        let (kind, answer) = attestor.sign(b"message").unwrap();
        assert_eq!(kind, "ecdsa_signature");
        let bytes = |name: &str| BASE64_STANDARD.decode(answer[name].as_str().unwrap()).unwrap();
        let point = BASE64_STANDARD.decode(POINT).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .verify(b"message", &[bytes("r"), bytes("s")].concat())
            .unwrap();
        for other in [WITHOUT_PUBLIC_KEY, P384] {
            let refused = X509popAttestor::new(&certificate.pem(), other).unwrap_err().to_string();
            assert!(refused.contains("P-256 key with its public key"), "{refused}");
        }
    }

    #[test]
    fn lengths_in_der() {
        for (length, head) in [
            (0, &[4, 0][..]),
            (127, &[4, 127]),
            (128, &[4, 0x81, 128]),
            (255, &[4, 0x81, 255]),
            (256, &[4, 0x82, 1, 0]),
        ] {
            let value = der(4, &[&vec![7; length]]);
            assert_eq!((&value[..head.len()], value.len()), (head, head.len() + length), "{length}");
        }
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
