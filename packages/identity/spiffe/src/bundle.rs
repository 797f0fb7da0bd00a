//! Trust bundles: what SVIDs of a trust domain are verified with.

mod jwks;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::{Certificate, CertificateError, PublicKey, PublicKeyError, TrustDomain, UnixSeconds};

/// The authorities of a trust domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// Whose.
    pub trust_domain: TrustDomain,
    /// Certificates that X.509-SVIDs are verified with.
    pub x509_authorities: Vec<CertificateDer<'static>>,
    /// Keys that JWT-SVIDs are verified with, by key ID.
    pub jwt_authorities: BTreeMap<String, JwtAuthority>,
    /// Grows with each change, where the source counts.
    pub sequence: Option<u64>,
    /// Seconds after which one should ask again, where the source says.
    pub refresh_hint: Option<u64>,
}

/// A key that signs JWT-SVIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtAuthority {
    /// The key.
    pub key: PublicKey,
    /// Until when it is used, where the source says.
    pub expires_at: Option<UnixSeconds>,
}

/// Why a text is no trust bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// It is no PEM.
    #[error("the trust bundle cannot be read as PEM: {0}")]
    Pem(String),
    /// It has no authority.
    #[error("the trust bundle holds no certificate")]
    Empty,
    /// A certificate is no good.
    #[error("certificate {place} of the trust bundle: {source}")]
    Certificate {
        /// The how manieth, from one.
        place: usize,
        /// What is wrong.
        source: CertificateError,
    },
    /// It is no JWK set.
    #[error("the trust bundle cannot be read as a JWK set: {0}")]
    Jwks(String),
    /// A key of it is no good.
    #[error("key {place} of the trust bundle: {why}")]
    Key {
        /// The how manieth, from one.
        place: usize,
        /// What is wrong.
        why: String,
    },
    /// A key's numbers.
    #[error("key {place} of the trust bundle: {source}")]
    Numbers {
        /// The how manieth, from one.
        place: usize,
        /// What is wrong.
        source: PublicKeyError,
    },
}

impl Bundle {
    /// A bundle without any authority.
    pub fn empty(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            x509_authorities: Vec::new(),
            jwt_authorities: BTreeMap::new(),
            sequence: None,
            refresh_hint: None,
        }
    }

    /// Reads CERTIFICATE blocks (RFC 7468), one at least.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, BundleError> {
        let mut bundle = Self::empty(trust_domain);
        for certificate in CertificateDer::pem_slice_iter(text) {
            bundle.add(certificate.map_err(|error| BundleError::Pem(error.to_string()))?)?;
        }
        if bundle.x509_authorities.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(bundle)
    }

    /// Adds an authority; one that is there already is not added again.
    pub fn add(&mut self, authority: CertificateDer<'static>) -> Result<(), BundleError> {
        let place = self.x509_authorities.len() + 1;
        let facts = Certificate::read(&authority);
        facts
            .and_then(|facts| facts.check_authority())
            .map_err(|source| BundleError::Certificate { place, source })?;
        if !self.x509_authorities.contains(&authority) {
            self.x509_authorities.push(authority);
        }
        Ok(())
    }

    /// The X.509 authorities as PEM.
    pub fn to_pem(&self) -> String {
        self.x509_authorities.iter().map(|it| pem("CERTIFICATE", it)).collect()
    }

    /// The X.509 authorities in DER, one after the other, as the Workload API sends them.
    pub fn x509_der(&self) -> Vec<u8> {
        self.x509_authorities.iter().flat_map(|it| it.iter().copied()).collect()
    }
}

/// A block of RFC 7468.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = zeroize::Zeroizing::new(BASE64_STANDARD.encode(der));
    // One allocation: the text may be a key, which is to be overwritten later, all of it.
    let mut out = String::with_capacity(text.len() + text.len() / 64 + 2 * label.len() + 40);
    out.push_str("-----BEGIN ");
    out.push_str(label);
    out.push_str("-----\n");
    for (place, character) in text.chars().enumerate() {
        if place > 0 && place % 64 == 0 {
            out.push('\n');
        }
        out.push(character);
    }
    out.push_str("\n-----END ");
    out.push_str(label);
    out.push_str("-----\n");
    out
}
