//! An authority of a trust domain.

use lepton_spiffe::{
    Bundle, CertificateDer, JwtAuthority, JwtSigner, PrivateKey, SpiffeId, TrustDomain, X509Svid,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

/// An authority of X.509- and JWT-SVIDs.
pub(crate) struct Authority {
    pub(crate) domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
    pub(crate) jwt: JwtSigner,
}

impl Authority {
    pub(crate) fn new(domain: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.subject_alt_names = vec![uri(&format!("spiffe://{domain}"))];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let jwt =
            JwtSigner::new(&PrivateKey::from_pkcs8(KeyPair::generate().unwrap().serialize_der())).unwrap();
        Self { domain: domain.parse().unwrap(), issuer, jwt }
    }

    pub(crate) fn issue(&self, id: &SpiffeId, hint: &str) -> X509Svid {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        // The crate `spiffe` wants it said.
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.subject_alt_names = vec![uri(&id.to_string())];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from(certificate.der().to_vec())];
        X509Svid::new(chain, PrivateKey::from_pkcs8(key.serialize_der()), hint).unwrap()
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let mut bundle = Bundle::empty(self.domain.clone());
        bundle.add(CertificateDer::from(self.issuer.der().to_vec())).unwrap();
        let key = JwtAuthority { key: self.jwt.public_key().clone(), expires_at: None };
        bundle.jwt_authorities.insert(self.jwt.key_id().to_owned(), key);
        bundle
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}
