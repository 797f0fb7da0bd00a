//! Authorities and certificates for tests.

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};
use rustls_pki_types::CertificateDer;

use crate::{Bundle, PrivateKey};

/// Any time in which everything made here is good.
pub(crate) const NOW: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to say.
pub(crate) struct Leaf<'a> {
    pub(crate) uris: &'a [&'a str],
    pub(crate) ca: bool,
    pub(crate) usages: &'a [KeyUsagePurpose],
    pub(crate) purposes: &'a [ExtendedKeyUsagePurpose],
    pub(crate) from: i64,
    pub(crate) until: i64,
}

impl Leaf<'_> {
    pub(crate) const WEB: Self = Self {
        uris: &["spiffe://example.org/web"],
        ca: false,
        usages: &[KeyUsagePurpose::DigitalSignature],
        purposes: &[ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth],
        from: NOW - HOUR,
        until: NOW + HOUR,
    };

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.subject_alt_names =
            self.uris.iter().map(|&uri| SanType::URI(uri.try_into().unwrap())).collect();
        params.subject_alt_names.push(SanType::DnsName("web.example".try_into().unwrap()));
        params.is_ca = if self.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = self.usages.to_vec();
        params.extended_key_usages = self.purposes.to_vec();
        params.not_before = time::OffsetDateTime::from_unix_timestamp(self.from).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(self.until).unwrap();
        params
    }
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::made(&Leaf {
            uris: &["spiffe://example.org"],
            ca: true,
            usages: &[KeyUsagePurpose::KeyCertSign],
            purposes: &[],
            ..Leaf::WEB
        })
    }

    fn made(leaf: &Leaf<'_>) -> Self {
        let (params, key) = (leaf.params(), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    /// An authority below this one.
    pub(crate) fn below(&self, leaf: &Leaf<'_>) -> Self {
        let (params, key) = (leaf.params(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> (CertificateDer<'static>, PrivateKey) {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.params().signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivateKey::from_pkcs8(key.serialize_der()))
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::empty("example.org".parse().unwrap());
        bundle.add(self.certificate.clone()).unwrap();
        bundle
    }
}
