//! An authority that the machine config gives the host, so that others who know its root verify what the host issues. Its key
//! signs certificates; tokens are signed with the host's own keys all the same.

use std::fmt;

use lepton_spiffe::{
    Bundle, Certificate, CertificateDer, Curve, PublicKey, Purpose, Secret, SpiffeId, TrustDomain,
    UnixSeconds, verify,
};
use rcgen::{Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;

use super::LocalError;
use super::generation::certify;
use crate::authority::{AuthorityError, Chain, Entry};
use crate::keys;

/// The texts of the machine config, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuthorityTexts {
    pub(crate) certificate: String,
    pub(crate) key: Secret,
}

/// An authority that can sign.
pub(super) struct Given {
    issuer: Issuer<'static, KeyPair>,
    /// What goes with each certificate that it signs.
    between: Chain,
    /// What others verify them with.
    pub(super) root: CertificateDer<'static>,
    not_before: UnixSeconds,
    not_after: UnixSeconds,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Given {
    /// Reads the texts. What it would sign for that host must be verified by its last certificate.
    pub(super) fn new(texts: &AuthorityTexts, host: &SpiffeId) -> Result<Self, LocalError> {
        let bad = |why: String| LocalError::Given(why);
        let chain: Chain = CertificateDer::pem_slice_iter(texts.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| bad(format!("certificate: {error}")))?;
        let (Some(first), Some(root)) = (chain.first(), chain.last().cloned()) else {
            return Err(bad("certificate: there is no certificate".to_owned()));
        };
        let facts = check(first, host.trust_domain()).map_err(|why| bad(format!("certificate: {why}")))?;
        // It is good while all are.
        let (mut not_before, mut not_after) = (facts.not_before, facts.not_after);
        for other in chain.iter().skip(1) {
            let other =
                check(other, host.trust_domain()).map_err(|why| bad(format!("certificate: {why}")))?;
            (not_before, not_after) = (not_before.max(other.not_before), not_after.min(other.not_after));
        }
        let der = PrivateKeyDer::from_pem_slice(texts.key.expose().as_bytes());
        let pair = der
            .ok()
            .and_then(|der| KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_ECDSA_P256_SHA256).ok());
        let pair = pair.ok_or_else(|| bad("key: it is no P-256 key in PKCS#8".to_owned()))?;
        match facts.key() {
            Ok(PublicKey::Ec { curve: Curve::P256, point }) if point == pair.public_key_raw() => {}
            _ => return Err(bad("the key does not belong to the certificate".to_owned())),
        }
        let issuer = Issuer::from_ca_cert_der(first, pair)?;
        // Those who verify have the last one.
        let between = chain.iter().take(chain.len() - 1).cloned().collect();
        let given = Self { issuer, between, root, not_before, not_after };
        given.try_out(host).map_err(bad)?;
        Ok(given)
    }

    /// Signs for a workload; the certificate is over when the authority is.
    pub(super) fn sign(
        &self,
        key: &PublicKey,
        entry: &Entry,
        from: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<Chain, AuthorityError> {
        let (from, until) = (from.max(self.not_before), until.min(self.not_after));
        if from >= until {
            let message = "identity.authority has expired, or is not good yet by this host's clock";
            return Err(AuthorityError::Local(message.to_owned()));
        }
        let leaf = certify(&self.issuer, key, entry, from, until)
            .map_err(|error| AuthorityError::Local(error.to_string()))?;
        Ok([vec![leaf], self.between.clone()].concat())
    }

    /// Whether others would believe it, at a time when it is good.
    fn try_out(&self, host: &SpiffeId) -> Result<(), String> {
        let (_, request) = keys::request().map_err(|error| error.to_string())?;
        let key = PublicKey::from_request(&request).map_err(|error| error.to_string())?;
        let entry = super::entry_of_host(host);
        let now = self.not_before;
        let chain = self.sign(&key, &entry, now, now + 1).map_err(|error| error.to_string())?;
        let mut bundle = Bundle::empty(host.trust_domain().clone());
        bundle.add(self.root.clone()).map_err(|error| error.to_string())?;
        match verify(&chain, &bundle, Purpose::Server, now) {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("what it signs is not verified by its last certificate: {error}")),
        }
    }
}

/// One certificate of the chain.
fn check(der: &CertificateDer<'_>, trust_domain: &TrustDomain) -> Result<Certificate, String> {
    let facts = Certificate::read(der).map_err(|error| error.to_string())?;
    facts.check_authority().map_err(|error| error.to_string())?;
    for uri in &facts.uris {
        // An authority of several trust domains would let each of them speak for the others (X509-SVID section 4.1).
        match uri.parse::<SpiffeId>() {
            Ok(id) if id.trust_domain() == trust_domain => {}
            _ => return Err(format!("it is of {uri}, not of the trust domain {trust_domain}")),
        }
    }
    Ok(facts)
}

#[cfg(test)]
pub(crate) mod tests;
