//! Whether a bundle leads to a certificate.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::{Certificate, X509SvidError};
use crate::{Bundle, SpiffeId, UnixSeconds};

/// What a peer uses its certificate for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It connects to us.
    Client,
    /// We connect to it.
    Server,
}

/// Somebody who was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Who.
    pub id: SpiffeId,
    /// Its certificate.
    pub certificate: Certificate,
}

/// Verifies a chain, the SVID's own certificate first, against the bundle of a trust domain.
pub fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    purpose: Purpose,
    now: UnixSeconds,
) -> Result<Peer, X509SvidError> {
    let (first, between) = chain.split_first().ok_or(X509SvidError::Empty)?;
    let certificate = Certificate::read(first)?;
    let id = certificate.leaf_id()?;
    if id.trust_domain() != &bundle.trust_domain {
        return Err(X509SvidError::OtherTrustDomain { id, expected: bundle.trust_domain.clone() });
    }
    let unverified = |error: webpki::Error| X509SvidError::Unverified { id: id.clone(), why: said(&error) };
    // One that cannot be an anchor voids none of the others.
    let anchors: Vec<_> =
        bundle.x509_authorities.iter().filter_map(|it| anchor_from_trusted_cert(it).ok()).collect();
    let usage = match purpose {
        Purpose::Client => KeyUsage::client_auth(),
        Purpose::Server => KeyUsage::server_auth(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap_or(0)));
    let leaf = EndEntityCert::try_from(first).map_err(unverified)?;
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, between, now, usage, None, None)
        .map_err(unverified)?;
    Ok(Peer { id, certificate })
}

/// For people; what is usual has words.
fn said(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "no authority of the bundle has signed it".to_owned()
        }
        webpki::Error::CertExpired { .. } => "it has expired".to_owned(),
        webpki::Error::CertNotValidYet { .. } => "it is not valid yet; is the clock right?".to_owned(),
        other => other.to_string(),
    }
}
