//! The client certificate that kubelet knows programs of the host by, and the authority of kubelet's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Why nothing can be said to kubelet.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A file is not PEM.
    #[error("{path} is not PEM with {what}")]
    Pem {
        /// The file.
        path: String,
        /// What it should hold.
        what: &'static str,
        /// Why it does not.
        source: rustls::pki_types::pem::Error,
    },
    /// Key and certificate are no good.
    #[error("the certificate is refused")]
    Refused(#[from] rustls::Error),
}

/// A client with the certificate and key in `client`, for a server with a certificate of an authority in `ca`.
pub(crate) fn client(client: &Path, ca: &Path) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(ca, &read(ca)?)?);
    let bytes = read(client)?;
    let key = PrivateKeyDer::from_pem_slice(&bytes).map_err(|source| pem(client, "a private key", source))?;
    Ok(ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(client, &bytes)?, key)?)
}

fn certificates(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|source| pem(path, "certificates", source))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.display().to_string(), source })
}

fn pem(path: &Path, what: &'static str, source: rustls::pki_types::pem::Error) -> TlsError {
    TlsError::Pem { path: path.display().to_string(), what, source }
}
