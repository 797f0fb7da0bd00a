//! TLS with the certificate roots of the host; there is no way to accept any other certificate.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::connect::Timed;
use crate::fetch::FetchError;

/// Puts TLS on a connection to `host`, whose certificate must come from a root in the folder `roots`.
pub(crate) fn wrap(
    stream: Timed,
    host: &str,
    roots: &Path,
) -> Result<StreamOwned<ClientConnection, Timed>, FetchError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| FetchError::Name(host.to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(FetchError::Tls)?
        .with_root_certificates(store(roots)?)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), name).map_err(FetchError::Tls)?;
    Ok(StreamOwned::new(connection, stream))
}

/// All certificates of the folder's PEM files.
fn store(folder: &Path) -> Result<RootCertStore, FetchError> {
    #[expect(clippy::disallowed_methods, reason = "a set of certificates has no order")]
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut store = RootCertStore::empty();
    for path in entries.map(|entry| entry.path()) {
        let is_pem = path.extension().is_some_and(|extension| extension == "pem" || extension == "crt");
        let Some(bytes) = is_pem.then(|| fs::read(&path).ok()).flatten() else { continue };
        store.add_parsable_certificates(CertificateDer::pem_slice_iter(&bytes).flatten());
    }
    if store.is_empty() { Err(FetchError::NoRoots(folder.to_owned())) } else { Ok(store) }
}
