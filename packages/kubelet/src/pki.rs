//! Certificates of a host that is alone: kubelet proves itself to programs of the host, and they to kubelet.
//!
//! They are made anew at each start of kubelet and live in memory. The authority's key is forgotten as soon as it has
//! signed the two, so that nobody can ever make a third.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::failure::Failure;
use crate::files;
use crate::places::Places;

/// What a host alone has, as PEM.
#[derive(Debug)]
pub(crate) struct Pki {
    pub(crate) ca: String,
    pub(crate) server: String,
    pub(crate) server_key: String,
    /// Certificate and key of programs of the host.
    pub(crate) client: String,
}

impl Pki {
    /// Makes all of it.
    pub(crate) fn new() -> Result<Self, Failure> {
        let ca_key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name = name("kubelet of this host");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&ca_key)?.pem();
        let issuer = Issuer::new(params, ca_key);

        let leaf = |common: &str, names: &[&str], purpose| {
            let key = KeyPair::generate()?;
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names)?;
            params.distinguished_name = name(common);
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![purpose];
            let certificate = params.signed_by(&key, &issuer)?.pem();
            Ok::<_, rcgen::Error>((certificate, key.serialize_pem()))
        };
        let names = ["127.0.0.1", "::1", "localhost"];
        let (server, server_key) = leaf("kubelet", &names, ExtendedKeyUsagePurpose::ServerAuth)?;
        let (client, client_key) = leaf("programs of this host", &[], ExtendedKeyUsagePurpose::ClientAuth)?;
        Ok(Self { ca, server, server_key, client: client + &client_key })
    }

    /// Writes it where kubelet and clients look.
    pub(crate) fn write(&self, places: &Places) -> Result<(), Failure> {
        let rows = [
            ("ca.pem", &self.ca),
            ("client-ca.pem", &self.ca),
            ("server.pem", &self.server),
            ("server.key", &self.server_key),
            ("client.pem", &self.client),
        ];
        for (name, text) in rows {
            files::write(&places.run.join(name), text.as_bytes())?;
        }
        Ok(())
    }
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

    use super::*;

    fn roots(pem: &str) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        Arc::new(roots)
    }

    fn identity(pem: &str, key: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
        (chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
    }

    /// A whole handshake in memory, both sides verified; the error of the side that refuses.
    fn handshake(server: &Pki, client: &Pki) -> Result<(), rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(roots(&server.ca), provider.clone()).build().unwrap();
        let (chain, key) = identity(&server.server, &server.server_key);
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .unwrap();
        let mut server_side = ServerConnection::new(Arc::new(config)).unwrap();
        let (chain, key) = identity(&client.client, &client.client);
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&server.ca))
            .with_client_auth_cert(chain, key)
            .unwrap();
        let mut client_side =
            ClientConnection::new(Arc::new(config), "127.0.0.1".try_into().unwrap()).unwrap();
        client_side.writer().write_all(b"hello").unwrap();
        for _ in 0..5 {
            let mut wire = Vec::new();
            while client_side.wants_write() {
                client_side.write_tls(&mut wire).unwrap();
            }
            server_side.read_tls(&mut wire.as_slice()).unwrap();
            server_side.process_new_packets()?;
            let mut wire = Vec::new();
            while server_side.wants_write() {
                server_side.write_tls(&mut wire).unwrap();
            }
            client_side.read_tls(&mut wire.as_slice()).unwrap();
            client_side.process_new_packets()?;
        }
        let mut said = [0; 5];
        server_side.reader().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"hello");
        Ok(())
    }

    #[test]
    fn both_sides_prove_themselves_and_strangers_cannot() {
        let (ours, other) = (Pki::new().unwrap(), Pki::new().unwrap());
        handshake(&ours, &ours).unwrap();
        let refused = handshake(&ours, &other).unwrap_err();
        assert!(matches!(refused, rustls::Error::InvalidCertificate(_)), "{refused}");
    }

    #[test]
    fn a_leaf_is_no_authority() {
        let pki = Pki::new().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = name("programs of this host");
        let (_, leaf_key) = identity(&pki.client, &pki.client);
        let issuer = Issuer::new(params, KeyPair::try_from(&leaf_key).unwrap());
        let key = KeyPair::generate().unwrap();
        let forged = CertificateParams::new(Vec::<String>::new()).unwrap().signed_by(&key, &issuer).unwrap();
        let client = forged.pem() + &key.serialize_pem() + &pki.client;
        let forged = Pki { client, ..Pki::new().unwrap() };
        assert!(handshake(&pki, &forged).is_err());
    }
}
