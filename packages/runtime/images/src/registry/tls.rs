//! TLS of registries: rustls with ring, and certificates from PEM files. Nothing is read before the first connection that
//! needs it. There are no built-in certificates.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::RegistryError;

/// What a server is verified against.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trust {
    /// The certificates for all registries.
    Common,
    /// Those of one file.
    File(PathBuf),
    /// Nothing.
    Anyone,
}

/// Configurations that were made.
#[derive(Debug)]
pub(crate) struct Tls {
    ca_files: Vec<PathBuf>,
    made: Mutex<Vec<(Trust, Arc<ClientConfig>)>>,
}

impl Tls {
    pub(crate) fn new(ca_files: Vec<PathBuf>) -> Self {
        Self { ca_files, made: Mutex::default() }
    }

    /// The configuration for a trust.
    pub(crate) fn configuration(&self, trust: &Trust) -> Result<Arc<ClientConfig>, RegistryError> {
        let mut made = self.made.lock().expect("nothing panics while it holds the lock");
        if let Some((_, known)) = made.iter().find(|(known, _)| known == trust) {
            return Ok(known.clone());
        }
        let new = Arc::new(self.make(trust)?);
        made.push((trust.clone(), new.clone()));
        Ok(new)
    }

    fn make(&self, trust: &Trust) -> Result<ClientConfig, RegistryError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone());
        let builder = builder.with_safe_default_protocol_versions().expect("ring has the default versions");
        let mut configuration = match trust {
            Trust::Anyone => {
                let verifier = Arc::new(NoVerification(provider));
                builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
            }
            Trust::Common => builder.with_root_certificates(roots(&self.ca_files)?).with_no_client_auth(),
            Trust::File(file) => {
                builder.with_root_certificates(roots(std::slice::from_ref(file))?).with_no_client_auth()
            }
        };
        configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(configuration)
    }
}

/// All certificates of some files. Those that cannot be used are left out, as everywhere.
fn roots(files: &[PathBuf]) -> Result<RootCertStore, RegistryError> {
    let mut store = RootCertStore::empty();
    for file in files {
        store.add_parsable_certificates(certificates(file)?);
    }
    if store.is_empty() {
        return Err(RegistryError::NoCertificates { files: files.to_vec() });
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, RegistryError> {
    let failed = |why: String| RegistryError::Certificates { path: file.to_owned(), why };
    let found = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    found.collect::<Result<_, _>>().map_err(|error| failed(error.to_string()))
}

/// Takes any certificate, for endpoints that the settings list with `skip_verify`.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let known = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
