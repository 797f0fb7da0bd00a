//! TLS for clients: certificates of hosts by the name that a client asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use lepton_config::RouteCertificate;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

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
