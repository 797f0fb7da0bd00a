//! Authorities and certificates for tests.

use lepton_spiffe::{Bundle, CertificateDer};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// A time at which everything that is made here is good.
pub(crate) const NOW: i64 = 1_800_000_000;
/// The usual trust domain.
pub(crate) const DOMAIN: &str = "example.org";
const HOUR: i64 = 3600;

/// An authority.
pub(crate) struct Authority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// What a certificate is to say.
#[derive(Clone, Copy)]
pub(crate) struct Leaf<'a> {
    pub(crate) uris: &'a [&'a str],
    pub(crate) id: &'a str,
    pub(crate) is_ca: bool,
    pub(crate) is_client: bool,
}

impl<'a> Leaf<'a> {
    pub(crate) fn of(id: &'a str) -> Self {
        Self { uris: &[USUAL], id, is_ca: false, is_client: true }
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        let uris = self.uris.iter().map(|uri| if *uri == USUAL { self.id } else { uri });
        params.subject_alt_names = uris.map(|uri| SanType::URI(uri.try_into().unwrap())).collect();
        params.is_ca =
            if self.is_ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = match self.is_ca {
            true => vec![KeyUsagePurpose::KeyCertSign],
            false => vec![KeyUsagePurpose::DigitalSignature],
        };
        if !self.is_ca {
            let purpose = match self.is_client {
                true => ExtendedKeyUsagePurpose::ClientAuth,
                false => ExtendedKeyUsagePurpose::ServerAuth,
            };
            params.extended_key_usages = vec![purpose];
        }
        params.not_before = time::OffsetDateTime::from_unix_timestamp(NOW - HOUR).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(NOW + HOUR).unwrap();
        params
    }
}

/// Stands for the leaf's own ID.
const USUAL: &str = "";

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let id = format!("spiffe://{domain}");
        let (params, key) = (Leaf { is_ca: true, ..Leaf::of(&id) }.params(), KeyPair::generate().unwrap());
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn bundle(&self, domain: &str) -> Bundle {
        let mut bundle = Bundle::empty(domain.parse().unwrap());
        bundle.add(self.certificate.clone()).unwrap();
        bundle
    }

    /// A certificate and its key in PKCS#8.
    pub(crate) fn issue(&self, leaf: &Leaf<'_>) -> (CertificateDer<'static>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let certificate = leaf.params().signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), key.serialize_der())
    }

    /// A certificate, and one who signs with its key.
    pub(crate) fn issue_with_key(&self, leaf: &Leaf<'_>) -> (CertificateDer<'static>, Self) {
        let (params, key) = (leaf.params(), KeyPair::generate().unwrap());
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate.clone(), Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// An authority below this one.
    pub(crate) fn between(&self) -> (CertificateDer<'static>, Self) {
        self.issue_with_key(&Leaf { is_ca: true, ..Leaf::of("spiffe://example.org") })
    }
}
