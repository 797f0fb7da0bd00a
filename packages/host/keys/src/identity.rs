//! A person's certificate and its key, in one file, so that a program that reads it never sees one without the other.

use std::path::{Path, PathBuf};

use lepton_spiffe::{PrivateKey, X509Svid, X509SvidError};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use crate::files::{self, FileError};

/// Whom a certificate is of, with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate and its key.
    pub svid: X509Svid,
}

/// Why a file is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// It is no PEM.
    #[error("{0} is no PEM of a certificate and its key (PKCS#8)")]
    Pem(PathBuf),
    /// They do not belong together, or are no SVID.
    #[error("the certificate in {path} cannot be used")]
    Svid {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: X509SvidError,
    },
}

impl Identity {
    /// Reads a file with CERTIFICATE blocks, its own first, and one PRIVATE KEY block.
    pub fn read(path: &Path) -> Result<Self, IdentityError> {
        let text = files::read(path)?;
        let pem = || IdentityError::Pem(path.to_owned());
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let key = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| pem())?;
        let key = PrivateKey::from_pkcs8(key.secret_pkcs8_der().to_vec());
        let svid = X509Svid::new(chain.map_err(|_| pem())?, key, "")
            .map_err(|source| IdentityError::Svid { path: path.to_owned(), source })?;
        Ok(Self { svid })
    }
}
