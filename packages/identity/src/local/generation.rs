//! One generation of the host's authority: a key for certificates and one for tokens.

use std::sync::Arc;

use lepton_spiffe::{
    CertificateDer, Curve, JwtSigner, PrivateKey, PublicKey, SpiffeId, TrustDomain, UnixSeconds,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::PrivateKeyDer;

use super::LocalError;
use crate::authority::Entry;

/// How long a generation is good for: 30 days. At half of that there is a new one.
pub(super) const LIFE: i64 = 30 * 86_400;
/// A new one signs when workloads have had so long to learn of it.
const PROPAGATION: i64 = LIFE / 12;
/// Clocks of workloads differ by so much.
const BACK: i64 = 60;

/// A generation.
#[derive(Clone, Debug)]
pub(super) struct Generation {
    pub(super) key: PrivateKey,
    pub(super) jwt_key: PrivateKey,
    pub(super) jwt: Arc<JwtSigner>,
    pub(super) certificate: CertificateDer<'static>,
    pub(super) not_before: UnixSeconds,
    pub(super) not_after: UnixSeconds,
}

impl Generation {
    /// A new one, from now on.
    pub(super) fn new(trust_domain: &TrustDomain, now: UnixSeconds) -> Result<Self, LocalError> {
        let pair = KeyPair::generate()?;
        let mut params = authority(trust_domain)?;
        (params.not_before, params.not_after) = (time(now - BACK)?, time(now + LIFE)?);
        let certificate = params.self_signed(&pair)?.der().clone();
        let jwt_key = PrivateKey::from_pkcs8(KeyPair::generate()?.serialize_der());
        Self::of_parts(PrivateKey::from_pkcs8(pair.serialize_der()), jwt_key, certificate)
    }

    /// One that was stored.
    pub(super) fn of_parts(
        key: PrivateKey,
        jwt_key: PrivateKey,
        certificate: CertificateDer<'static>,
    ) -> Result<Self, LocalError> {
        let read = lepton_spiffe::Certificate::read(&certificate).map_err(|_| LocalError::Key)?;
        let jwt = Arc::new(JwtSigner::new(&jwt_key).ok_or(LocalError::Key)?);
        let (not_before, not_after) = (read.not_before + BACK, read.not_after);
        Ok(Self { key, jwt_key, jwt, certificate, not_before, not_after })
    }

    /// A certificate of an entry.
    pub(super) fn certify(
        &self,
        key: &PublicKey,
        entry: &Entry,
        from: UnixSeconds,
        until: UnixSeconds,
    ) -> Result<CertificateDer<'static>, LocalError> {
        let pair = KeyPair::try_from(&PrivateKeyDer::Pkcs8(self.key.to_pki()))?;
        let issuer = Issuer::new(authority(entry.spiffe_id.trust_domain())?, pair);
        certify(&issuer, key, entry, from, until)
    }
}

/// A certificate of an entry, by that authority.
pub(super) fn certify(
    issuer: &Issuer<'_, KeyPair>,
    key: &PublicKey,
    entry: &Entry,
    from: UnixSeconds,
    until: UnixSeconds,
) -> Result<CertificateDer<'static>, LocalError> {
    let PublicKey::Ec { curve: Curve::P256, point } = key else { return Err(LocalError::Key) };
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Lepton");
    params.subject_alt_names.push(uri(&entry.spiffe_id)?);
    for name in &entry.dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyAgreement,
    ];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    (params.not_before, params.not_after) = (time(from)?, time(until)?);
    Ok(params.signed_by(&Point(point), issuer)?.der().clone())
}

/// Who signs now: the newest that workloads know already, else the newest that is good at all.
pub(super) fn signer(generations: &[Generation], now: UnixSeconds) -> Option<&Generation> {
    let is_good = |it: &&Generation| it.not_before - BACK <= now && now < it.not_after;
    let known = generations.iter().rev().find(|it| is_good(it) && it.not_before + PROPAGATION <= now);
    // The first one of a host has nobody to wait for, so the oldest is the one that is known best.
    known.or_else(|| generations.iter().find(is_good)).or(generations.last())
}

fn authority(trust_domain: &TrustDomain) -> Result<CertificateParams, LocalError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Lepton");
    params.distinguished_name.push(DnType::CommonName, "authority of this host");
    params.subject_alt_names.push(uri(&SpiffeId::of(trust_domain.clone()))?);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn uri(id: &SpiffeId) -> Result<SanType, LocalError> {
    Ok(SanType::URI(id.to_string().try_into()?))
}

fn time(seconds: UnixSeconds) -> Result<time::OffsetDateTime, LocalError> {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| LocalError::Make(rcgen::Error::Time))
}

/// A public key that a certificate is made for.
struct Point<'a>(&'a [u8]);

impl PublicKeyData for Point<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
