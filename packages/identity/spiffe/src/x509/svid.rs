//! An identity that can be used: a chain of certificates and the key of the first.

use rustls_pki_types::CertificateDer;

use crate::public_key::belongs;
use crate::{Certificate, CertificateError, PrivateKey, SpiffeId, UnixSeconds};

/// An X.509-SVID with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct X509Svid {
    /// Who.
    pub id: SpiffeId,
    /// The certificates, the SVID's own first, without those of the bundle.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: PrivateKey,
    /// From when on it is good.
    pub not_before: UnixSeconds,
    /// Until when it is good.
    pub not_after: UnixSeconds,
    /// Serial number of the first certificate, decimal.
    pub serial: String,
    /// DNS names of the first certificate.
    pub dns_names: Vec<String>,
    /// What tells it from others of the same workload; may be empty.
    pub hint: String,
}

/// Why this is no X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum X509SvidError {
    /// There is no certificate.
    #[error("an X.509-SVID has a certificate at least")]
    Empty,
    /// A certificate is no good.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The key is somebody else's.
    #[error("the key does not belong to the certificate of {0}")]
    Key(SpiffeId),
    /// The bundle does not lead to it.
    #[error("the certificate of {id} is not verified by the bundle of {id_domain}: {why}", id_domain = .id.trust_domain())]
    Unverified {
        /// Who it says it is.
        id: SpiffeId,
        /// What the verifier said.
        why: String,
    },
    /// There is no bundle for its trust domain.
    #[error("the certificate of {id} is not of the trust domain {expected}")]
    OtherTrustDomain {
        /// Who it says it is.
        id: SpiffeId,
        /// Whose bundle it was held against.
        expected: crate::TrustDomain,
    },
}

impl X509Svid {
    /// An SVID, when the chain and the key belong together and are as the specification wants them. Whether a bundle
    /// leads to it is for [`crate::verify`].
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        hint: &str,
    ) -> Result<Self, X509SvidError> {
        let (leaf, authorities) = chain.split_first().ok_or(X509SvidError::Empty)?;
        let leaf = Certificate::read(leaf)?;
        let id = leaf.leaf_id()?;
        for authority in authorities {
            Certificate::read(authority)?.check_authority()?;
        }
        if !belongs(&leaf.key()?, key.as_der()) {
            return Err(X509SvidError::Key(id));
        }
        Ok(Self {
            id,
            chain,
            key,
            not_before: leaf.not_before,
            not_after: leaf.not_after,
            serial: leaf.serial,
            dns_names: leaf.dns_names,
            hint: hint.to_owned(),
        })
    }

    /// Seconds that it is good for, all together.
    pub fn lifetime(&self) -> i64 {
        self.not_after.saturating_sub(self.not_before).max(0)
    }

    /// The chain, one certificate after the other, as the Workload API sends it.
    pub fn chain_der(&self) -> Vec<u8> {
        self.chain.iter().flat_map(|certificate| certificate.iter().copied()).collect()
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| crate::bundle::pem("CERTIFICATE", certificate)).collect()
    }

    /// The key as PEM; it is overwritten when it is dropped.
    pub fn key_pem(&self) -> zeroize::Zeroizing<String> {
        zeroize::Zeroizing::new(crate::bundle::pem("PRIVATE KEY", self.key.as_der()))
    }
}
