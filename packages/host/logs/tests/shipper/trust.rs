//! Authorities: of destinations, and of the trust domain whose members they let in.

use std::sync::Arc;

use lepton_spiffe_api::workload as api;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// An authority with a name of its own: what has the same name as its issuer passes for self-signed with some.
fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// An authority and its certificate for 127.0.0.1.
pub(crate) struct Trust {
    pub(crate) pem: String,
    pub(crate) certificate_pem: String,
    pub(crate) key_pem: String,
    pub(crate) chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    pub(crate) key: Vec<u8>,
}

impl Trust {
    pub(crate) fn new() -> Self {
        let ca = authority("destinations");
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        Self {
            pem: ca.pem(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            chain: vec![certificate.der().clone()],
            key: key.serialize_der(),
        }
    }

    /// TLS for everybody.
    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        let config = builder.unwrap().with_no_client_auth();
        Arc::new(config.with_single_cert(self.chain.clone(), key.into()).unwrap())
    }

    /// TLS for members of a trust domain.
    pub(crate) fn server_for(&self, members: &Members) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(members.0.der().clone()).unwrap();
        let members = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_client_cert_verifier(members.build().unwrap());
        let key = PrivatePkcs8KeyDer::from(self.key.clone());
        Arc::new(builder.with_single_cert(self.chain.clone(), key.into()).unwrap())
    }
}

/// A trust domain's authority.
pub(crate) struct Members(CertifiedIssuer<'static, KeyPair>);

impl Members {
    pub(crate) fn new() -> Self {
        Self(authority("members"))
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// The identity of a host, anew with each call.
    pub(crate) fn svid(&self) -> api::X509svid {
        let id = "spiffe://example.org/host/edge-1";
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(id).unwrap())];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        api::X509svid {
            spiffe_id: id.to_owned(),
            x509_svid: certificate.der().to_vec(),
            x509_svid_key: key.serialize_der(),
            bundle: self.0.der().to_vec(),
            hint: String::new(),
        }
    }
}
