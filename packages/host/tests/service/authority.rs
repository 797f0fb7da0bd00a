//! Authorities and what they issue.

use std::time::{SystemTime, UNIX_EPOCH};

use lepton_spiffe::CertificateDer;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

pub(crate) const DOMAIN: &str = "example.org";

/// An authority.
pub(crate) struct Authority {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key in PKCS#8.
#[derive(Clone)]
pub(crate) struct Certified {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: Vec<u8>,
    /// Both, for programs that read files.
    pub(crate) pem: String,
}

pub(crate) fn now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "the service judges certificates by this clock")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}

fn params(uri: &str, from: i64, until: i64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.not_before = time::OffsetDateTime::from_unix_timestamp(from).unwrap();
    params.not_after = time::OffsetDateTime::from_unix_timestamp(until).unwrap();
    params
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = params(&format!("spiffe://{DOMAIN}"), now() - 86_400, now() + 86_400);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { certificate: der, pem, issuer: Issuer::new(params, key) }
    }

    /// One that is good now.
    pub(crate) fn client(&self, uri: &str) -> Certified {
        self.issue(uri, now() - 60, now() + 3600)
    }

    pub(crate) fn issue(&self, uri: &str, from: i64, until: i64) -> Certified {
        self.sign(params(uri, from, until))
    }

    /// A host's, with a name for clients that go by names.
    pub(crate) fn host(&self, uri: &str, name: &str) -> Certified {
        let mut params = params(uri, now() - 60, now() + 3600);
        params.subject_alt_names.push(SanType::DnsName(name.try_into().unwrap()));
        self.sign(params)
    }

    fn sign(&self, mut params: CertificateParams) -> Certified {
        // What has its issuer's name passes for self-signed with OpenSSL.
        params.distinguished_name.push(DnType::CommonName, "somebody");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let pem = certificate.pem() + &key.serialize_pem();
        Certified { certificate: certificate.der().clone(), key: key.serialize_der(), pem }
    }
}
