//! TLS 1.3 to hosts: a host is known by its SPIFFE ID and the bundle of hosts, never by a name of DNS.

use std::sync::Arc;

use lepton_spiffe::{Bundle, Purpose, SpiffeId, verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};

use crate::failure::Failure;
use crate::target::Access;

/// Where SPIFFE IDs of hosts begin: those that hosts give themselves, and those that SPIRE gives its agents. A workload of
/// a host has a certificate of the same authority, and must not pass as a host.
const HOST_PATHS: [&str; 2] = ["/host/", "/spire/agent/"];

/// Verifies one host.
#[derive(Debug)]
struct Verifier {
    hosts: Bundle,
    /// Who it must be, when that is known.
    id: Option<SpiffeId>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn check(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), String> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let peer = verify(chain, &self.hosts, Purpose::Server, now).map_err(|error| error.to_string())?;
        match &self.id {
            Some(id) if *id == peer.id => Ok(()),
            Some(id) => Err(format!("it is {}, and the context says {id}", peer.id)),
            None if HOST_PATHS.iter().any(|path| peer.id.path().starts_with(path)) => Ok(()),
            None => Err(format!("{} is no host: give the context its ID in host-ids if it is one", peer.id)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut chain = vec![end_entity.clone()];
        chain.extend_from_slice(intermediates);
        self.check(&chain, now).map_err(|why| {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(NotTrusted(why)))))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Not reached: TLS 1.2 is not offered.
        Err(rustls::Error::General("TLS 1.2".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Why a host is not believed.
#[derive(Debug, thiserror::Error)]
#[error("this is no host to be believed: {0}")]
struct NotTrusted(String);

/// What a handshake failed by, for people: rustls shows what a verifier says as a value of Rust.
pub(crate) fn failure(to: &str, error: &std::io::Error) -> Failure {
    let of_rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_rustls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => {
            Failure::Untrusted(why.to_string())
        }
        Some(rustls::Error::AlertReceived(_)) => {
            Failure::Rejected(format!("TLS alert {}", alert(error).unwrap_or_default()))
        }
        _ => Failure::Unreachable { to: to.to_owned(), why: error.to_string() },
    }
}

/// The alert that the other side has ended a connection with (RFC 8446 section 6.2).
pub(crate) fn alert(error: &std::io::Error) -> Option<String> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(format!("{alert:?}")),
        _ => None,
    }
}

/// How to connect to a host.
pub(crate) fn config(access: &Access, id: Option<&SpiffeId>) -> Result<ClientConfig, Failure> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier { hosts: access.hosts.clone(), id: id.cloned(), provider: Arc::clone(&provider) };
    let key = PrivateKeyDer::Pkcs8(access.own.key.to_pki().clone_key());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(Failure::Tls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_auth_cert(access.own.chain.clone(), key)
        .map_err(Failure::Tls)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would go on with the certificate of the time when it began.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
