//! TLS on both sides: certificates of hosts by the name that a client asks for, and the client certificate that kubelet
//! knows the router by.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use lepton_config::RouteCertificate;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// Why the router cannot speak to kubelet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
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

/// Certificates by name.
#[derive(Debug)]
struct Certificates {
    by_host: BTreeMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase).unwrap_or_default();
        let above = name.split_once('.').map(|(_, above)| format!("*.{above}"));
        let found = self.by_host.get(&name).or_else(|| self.by_host.get(&above?));
        Some(Arc::clone(found.unwrap_or(&self.first)))
    }
}

/// Whether a certificate's name, perhaps with `*.`, is for a host: a wild card stands for one label.
pub(crate) fn is_for(name: &str, host: &str) -> bool {
    name == host
        || name
            .strip_prefix("*.")
            .is_some_and(|rest| host.split_once('.').is_some_and(|(_, above)| above == rest))
}

/// A server with these certificates, and one sentence for each that is no good. Without any there is none.
pub(crate) fn server(certificates: &[RouteCertificate]) -> (Option<Arc<ServerConfig>>, Vec<String>) {
    let provider = Arc::new(default_provider());
    let (mut by_host, mut first, mut problems) = (BTreeMap::new(), None, Vec::new());
    for certificate in certificates {
        let names: Vec<&str> = certificate.hosts.iter().map(lepton_config::RouteHost::as_str).collect();
        let key = match certified(&provider, certificate) {
            Ok(key) => Arc::new(key),
            Err(why) => {
                problems.push(format!("route.certificates: the one of {}: {why}", names.join(", ")));
                continue;
            }
        };
        first.get_or_insert_with(|| Arc::clone(&key));
        for name in names {
            by_host.entry(name.to_owned()).or_insert_with(|| Arc::clone(&key));
        }
    }
    let Some(first) = first else { return (None, problems) };
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let made = builder.map(|builder| {
        let resolver = Arc::new(Certificates { by_host, first });
        let mut config = builder.with_no_client_auth().with_cert_resolver(resolver);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Clients keep what a session goes on with; the router keeps none.
        if let Ok(ticketer) = Ticketer::new() {
            config.ticketer = ticketer;
        }
        Arc::new(config)
    });
    match made {
        Ok(config) => (Some(config), problems),
        Err(error) => {
            problems.push(format!("route.certificates: {error}"));
            (None, problems)
        }
    }
}

fn certified(provider: &CryptoProvider, certificate: &RouteCertificate) -> Result<CertifiedKey, String> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(certificate.chain.as_str().as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| format!("chain: {error}"))?;
    if chain.is_empty() {
        return Err("chain: it holds no CERTIFICATE".to_owned());
    }
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_str().as_bytes())
        .map_err(|error| format!("key: {error}"))?;
    // This also compares the key with the certificate.
    CertifiedKey::from_der(chain, key, provider).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_certificates() {
        assert!(is_for("app.example", "app.example"));
        assert!(is_for("*.example", "app.example"));
        for (name, host) in
            [("app.example", "b.example"), ("*.example", "a.b.example"), ("*.example", "example")]
        {
            assert!(!is_for(name, host), "{name} {host}");
        }
    }
}
