//! TLS to a destination: it is verified by its name and the trust bundle (RFC 5425 section 5.2), and may be shown the host's
//! X.509-SVID.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::{Destination, SendError};

/// The roots of the image.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

pub(super) fn config(destination: &Destination) -> Result<Arc<ClientConfig>, SendError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SendError::Tls(error.to_string()))?
        .with_root_certificates(roots(destination.trust_bundle.as_deref())?);
    let mut config = match &destination.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let svid = identity.current().ok_or(SendError::NoIdentity)?;
            let chain = svid.chain.clone();
            builder
                .with_client_auth_cert(chain, svid.key.clone_key())
                .map_err(|error| SendError::Tls(format!("the host's X.509-SVID: {error}")))?
        }
    };
    if destination.scheme.is_otlp() {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(Arc::new(config))
}

pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, SendError> {
    ServerName::try_from(host.to_owned()).map_err(|error| SendError::Tls(format!("{host}: {error}")))
}

fn roots(bundle: Option<&str>) -> Result<RootCertStore, SendError> {
    let wrong = |what: &str, error: &dyn std::fmt::Display| SendError::Tls(format!("{what}: {error}"));
    let certificates: Vec<CertificateDer<'static>> = match bundle {
        Some(pem) => CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("trust-bundle", &error))?,
        None => CertificateDer::pem_file_iter(Path::new(ROOTS))
            .and_then(Iterator::collect)
            .map_err(|error| wrong(ROOTS, &error))?,
    };
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(SendError::Tls("no certificate to verify the destination with".to_owned()));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bundles_that_are_none() {
        let refused = |pem: &str| roots(Some(pem)).unwrap_err().to_string();
        assert_eq!(refused(""), "cannot use TLS: no certificate to verify the destination with");
        assert!(
            refused("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n").contains("trust-bundle")
        );
        let junk = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(refused(junk).contains("no certificate"));
        assert!(server_name("logs.example").is_ok() && server_name("2001:db8::1").is_ok());
        assert!(server_name("a b").is_err());
    }
}
