//! An authority: a certificate that may sign others, and its key. It reads and writes no files.

use lepton_spiffe::{Certificate, SpiffeId, TrustDomain, UnixSeconds};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroizing;

use crate::Lifetime;

/// Clocks of hosts are behind by so much.
const BACK: i64 = 60;

/// Why something could not be made or signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The generator of certificates says no.
    #[error("cannot make a certificate or its key")]
    Make(#[from] rcgen::Error),
    /// It is no certificate.
    #[error("it holds no certificate")]
    NoCertificate,
    /// It may sign nothing, or names no trust domain.
    #[error("its certificate is no authority of a trust domain: {0}")]
    NoAuthority(String),
    /// The key is somebody else's.
    #[error("its key does not belong to its certificate")]
    OtherKey,
    /// What it signs would not be believed.
    #[error("the authority itself is over")]
    Over,
}

/// An authority of a trust domain.
pub(crate) struct Authority {
    pub(crate) trust_domain: TrustDomain,
    /// Certificate as PEM.
    pub(crate) certificate: String,
    /// Key as PEM (PKCS#8).
    pub(crate) key: Zeroizing<String>,
    not_after: UnixSeconds,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: Zeroizing<String>,
}

impl Authority {
    /// A new one that nobody has signed but itself; below it may be so many others.
    pub(crate) fn new(
        trust_domain: &TrustDomain,
        name: &str,
        below: u8,
        now: UnixSeconds,
    ) -> Result<Self, AuthorityError> {
        let pair = KeyPair::generate()?;
        // Another key has another name, or what it has signed would be taken for a forgery of this one's.
        let number: String =
            pair.public_key_raw().iter().skip(1).take(4).map(|byte| format!("{byte:02x}")).collect();
        let mut params = authority(trust_domain, &format!("{name} {number}"), below)?;
        let not_after = now.saturating_add(Lifetime::AUTHORITY.seconds());
        (params.not_before, params.not_after) = (time(now - BACK)?, time(not_after)?);
        let certificate = params.self_signed(&pair)?.pem();
        let key = Zeroizing::new(pair.serialize_pem());
        let issuer = Issuer::new(params, pair);
        Ok(Self { trust_domain: trust_domain.clone(), certificate, key, not_after, issuer })
    }

    /// One that was stored.
    pub(crate) fn read(certificate: &str, key: &str) -> Result<Self, AuthorityError> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| AuthorityError::NoCertificate)?;
        let no_authority = |why: String| AuthorityError::NoAuthority(why);
        let facts = Certificate::read(&der).map_err(|error| no_authority(error.to_string()))?;
        facts.check_authority().map_err(|error| no_authority(error.to_string()))?;
        let trust_domain = domain(&facts).map_err(no_authority)?;
        let pair = KeyPair::from_pem(key)?;
        if pair.public_key_raw() != point(&facts)? {
            return Err(AuthorityError::OtherKey);
        }
        let issuer = Issuer::from_ca_cert_der(&der, pair)?;
        Ok(Self {
            trust_domain,
            certificate: certificate.to_owned(),
            key: Zeroizing::new(key.to_owned()),
            not_after: facts.not_after,
            issuer,
        })
    }

    /// An authority below this one, below which there is none.
    pub(crate) fn below(
        &self,
        name: &str,
        lifetime: Lifetime,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        self.sign(authority(&self.trust_domain, name, 0)?, lifetime, now)
    }

    /// A certificate of somebody who connects.
    pub(crate) fn client(
        &self,
        id: &SpiffeId,
        name: &str,
        lifetime: Lifetime,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = distinguished(name);
        params.subject_alt_names.push(uri(id)?);
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(params, lifetime, now)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        lifetime: Lifetime,
        now: UnixSeconds,
    ) -> Result<Issued, AuthorityError> {
        // No certificate outlives what leads to it.
        let not_after = now.saturating_add(lifetime.seconds()).min(self.not_after);
        if not_after <= now {
            return Err(AuthorityError::Over);
        }
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (time(now - BACK)?, time(not_after)?);
        let pair = KeyPair::generate()?;
        let certificate = params.signed_by(&pair, &self.issuer)?.pem();
        Ok(Issued { certificate, key: Zeroizing::new(pair.serialize_pem()) })
    }
}

/// The trust domain of an authority: X509-SVID section 3.2 puts it, as a SPIFFE ID without a path, into its URI.
pub(crate) fn domain(facts: &Certificate) -> Result<TrustDomain, String> {
    let [uri] = facts.uris.as_slice() else { return Err("it has no SPIFFE ID".to_owned()) };
    let id: SpiffeId = uri.parse().map_err(|error| format!("{error}"))?;
    Ok(id.trust_domain().clone())
}

fn point(facts: &Certificate) -> Result<Vec<u8>, AuthorityError> {
    match facts.key().map_err(|error| AuthorityError::NoAuthority(error.to_string()))? {
        lepton_spiffe::PublicKey::Ec { point, .. } => Ok(point),
        _ => Err(AuthorityError::NoAuthority("its key is not of an elliptic curve".to_owned())),
    }
}

fn authority(trust_domain: &TrustDomain, name: &str, below: u8) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = distinguished(name);
    params.subject_alt_names.push(uri(&SpiffeId::of(trust_domain.clone()))?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn distinguished(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::OrganizationName, "Lepton");
    names.push(DnType::CommonName, name);
    names
}

fn uri(id: &SpiffeId) -> Result<SanType, AuthorityError> {
    Ok(SanType::URI(id.to_string().try_into()?))
}

fn time(seconds: UnixSeconds) -> Result<time::OffsetDateTime, AuthorityError> {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| rcgen::Error::Time.into())
}
