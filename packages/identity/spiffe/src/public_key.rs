//! Public keys: as SubjectPublicKeyInfo (RFC 5280) on one side, as their numbers for JWK (RFC 7517) on the other.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::der::{BIT_STRING, NULL, OBJECT, SEQUENCE, tagged, trimmed, unsigned};

const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// Beyond this nobody's key is; verification takes time with the square.
const LONGEST_RSA: usize = 1024;

/// Curves of JWK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1: kept and passed on, but there is nothing here that verifies with it.
    P521,
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in a JWK.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// The curve of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|curve| curve.name() == name)
    }

    fn oid(self) -> &'static [u8] {
        match self {
            Self::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Self::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
            Self::P521 => &[0x2b, 0x81, 0x04, 0x00, 0x23],
        }
    }

    /// Bytes of a coordinate.
    fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PublicKey {
    /// Of an elliptic curve.
    Ec {
        /// Which one.
        curve: Curve,
        /// The point, uncompressed (SEC 1 section 2.3.3).
        point: Vec<u8>,
    },
    /// RSA. Both numbers are big-endian without zeros in front.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

/// Why a public key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublicKeyError {
    /// The bytes are something else.
    #[error("this is no public key (SubjectPublicKeyInfo)")]
    Malformed,
    /// A kind that SPIFFE does not name.
    #[error("a public key is of a kind that SPIFFE does not know: use RSA, P-256, P-384 or P-521")]
    Kind,
    /// A point that is not written in full, or a number out of bounds.
    #[error("the numbers of a public key are out of bounds")]
    Numbers,
}

impl PublicKey {
    /// Reads a SubjectPublicKeyInfo.
    pub fn from_spki(der: &[u8]) -> Result<Self, PublicKeyError> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(der).map_err(|_| PublicKeyError::Malformed)?;
        if !rest.is_empty() || info.subject_public_key.unused_bits != 0 {
            return Err(PublicKeyError::Malformed);
        }
        Self::of_info(&info)
    }

    /// The key that a certificate is asked for (PKCS#10). Nothing is verified: whoever asks has shown otherwise who it is.
    pub fn from_request(der: &[u8]) -> Result<Self, PublicKeyError> {
        let read = X509CertificationRequest::from_der(der);
        let (rest, request) = read.map_err(|_| PublicKeyError::Malformed)?;
        if !rest.is_empty() {
            return Err(PublicKeyError::Malformed);
        }
        Self::of_info(&request.certification_request_info.subject_pki)
    }

    pub(crate) fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, PublicKeyError> {
        match info.algorithm.algorithm.as_bytes() {
            EC => {
                let parameters = info.algorithm.parameters.as_ref().ok_or(PublicKeyError::Malformed)?;
                let oid = Oid::try_from(parameters.clone()).map_err(|_| PublicKeyError::Kind)?;
                let curve = Curve::ALL.into_iter().find(|curve| curve.oid() == oid.as_bytes());
                Self::ec(curve.ok_or(PublicKeyError::Kind)?, &info.subject_public_key.data)
            }
            RSA => match info.parsed() {
                Ok(x509_parser::public_key::PublicKey::RSA(key)) => Self::rsa(key.modulus, key.exponent),
                _ => Err(PublicKeyError::Malformed),
            },
            _ => Err(PublicKeyError::Kind),
        }
    }

    /// A point of a curve, uncompressed. Whether it lies on the curve is seen when something is verified.
    pub fn ec(curve: Curve, point: &[u8]) -> Result<Self, PublicKeyError> {
        let is_good = point.first() == Some(&4) && point.len() == 1 + 2 * curve.width();
        is_good.then(|| Self::Ec { curve, point: point.to_owned() }).ok_or(PublicKeyError::Numbers)
    }

    /// A point of a curve by its coordinates.
    pub fn ec_of_coordinates(curve: Curve, x: &[u8], y: &[u8]) -> Result<Self, PublicKeyError> {
        // RFC 7518 section 6.2.1.2: as long as the field, with zeros in front.
        if x.len() != curve.width() || y.len() != curve.width() {
            return Err(PublicKeyError::Numbers);
        }
        Self::ec(curve, &[&[4], x, y].concat())
    }

    /// RSA with these numbers, big-endian.
    pub fn rsa(n: &[u8], e: &[u8]) -> Result<Self, PublicKeyError> {
        let (n, e) = (trimmed(n), trimmed(e));
        if n.is_empty() || e.is_empty() || n.len() > LONGEST_RSA || e.len() > 8 {
            return Err(PublicKeyError::Numbers);
        }
        Ok(Self::Rsa { n: n.to_owned(), e: e.to_owned() })
    }

    /// As SubjectPublicKeyInfo.
    pub fn to_spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            Self::Ec { curve, point } => {
                let curve = tagged(OBJECT, &[curve.oid()]);
                (tagged(SEQUENCE, &[&tagged(OBJECT, &[EC]), &curve]), point.clone())
            }
            Self::Rsa { n, e } => {
                let algorithm = tagged(SEQUENCE, &[&tagged(OBJECT, &[RSA]), &tagged(NULL, &[])]);
                (algorithm, tagged(SEQUENCE, &[&unsigned(n), &unsigned(e)]))
            }
        };
        tagged(SEQUENCE, &[&algorithm, &tagged(BIT_STRING, &[&[0], &key])])
    }

    /// The coordinates of a point.
    pub(crate) fn coordinates(curve: Curve, point: &[u8]) -> Option<(&[u8], &[u8])> {
        point.get(1..)?.split_at_checked(curve.width())
    }
}

/// Whether this is the public half of a PKCS#8 key.
pub(crate) fn belongs(public: &PublicKey, pkcs8: &[u8]) -> bool {
    use ring::rsa::KeyPair as RsaKeyPair;
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    };
    match public {
        PublicKey::Ec { curve, point } => {
            let algorithm = match curve {
                Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
                Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
                Curve::P521 => return false,
            };
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &ring::rand::SystemRandom::new());
            pair.is_ok_and(|pair| pair.public_key().as_ref() == point)
        }
        PublicKey::Rsa { n, e } => {
            let expected = tagged(SEQUENCE, &[&unsigned(n), &unsigned(e)]);
            RsaKeyPair::from_pkcs8(pkcs8).is_ok_and(|pair| pair.public_key().as_ref() == expected)
        }
    }
}

#[cfg(test)]
mod tests {
    use rcgen::PublicKeyData as _;

    use super::*;

    #[test]
    fn what_is_read_is_written_again() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let spki = pair.subject_public_key_info();
            let key = PublicKey::from_spki(&spki).unwrap();
            assert_eq!(key.to_spki(), spki);
            assert!(belongs(&key, &pair.serialize_der()));
            let request = rcgen::CertificateParams::default().serialize_request(&pair).unwrap();
            assert_eq!(PublicKey::from_request(request.der()).as_ref(), Ok(&key));
            let other = rcgen::KeyPair::generate_for(algorithm).unwrap();
            assert!(!belongs(&key, &other.serialize_der()));
            assert!(PublicKey::from_spki(&[&spki[..], &[0]].concat()).is_err(), "nothing may follow");
            assert!(PublicKey::from_spki(&spki[..spki.len() - 1]).is_err());
        }
        let key = PublicKey::rsa(&[&[0][..], &[0xc1; 256]].concat(), &[0, 1, 0, 1]).unwrap();
        assert_eq!(PublicKey::from_spki(&key.to_spki()).unwrap(), key);
        let key = PublicKey::ec_of_coordinates(Curve::P521, &[1; 66], &[2; 66]).unwrap();
        assert_eq!(PublicKey::from_spki(&key.to_spki()).unwrap(), key);
    }

    #[test]
    fn bad_numbers() {
        assert!(PublicKey::ec(Curve::P256, &[2; 33]).is_err(), "compressed");
        assert!(PublicKey::ec_of_coordinates(Curve::P256, &[1; 31], &[1; 33]).is_err());
        assert!(PublicKey::rsa(&[0, 0], &[1]).is_err());
        assert!(PublicKey::rsa(&[1; 1025], &[3]).is_err());
        let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(PublicKey::from_spki(&pair.subject_public_key_info()), Err(PublicKeyError::Kind));
    }
}
