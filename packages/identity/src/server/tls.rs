//! TLS to a server: it is known by its SPIFFE ID and the bundle, never by a host name.

use std::sync::Arc;

use lepton_spiffe::{Bundle, Certificate, Purpose, SpiffeId, TrustDomain, X509Svid, X509SvidError, verify};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, OtherError, SignatureScheme};

use crate::clock::Clock;

/// Seconds that a server's clock may be ahead of ours.
const SKEW: i64 = 300;

/// What a server must show.
#[derive(Clone, Debug)]
pub(crate) enum Trust {
    /// A certificate that the bundle leads to.
    Bundle(Arc<Bundle>),
    /// The right name is enough. For tests of images only.
    Anyone(TrustDomain),
}

impl Trust {
    pub(crate) fn trust_domain(&self) -> &TrustDomain {
        match self {
            Self::Bundle(bundle) => &bundle.trust_domain,
            Self::Anyone(domain) => domain,
        }
    }
}

/// Verifies servers.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    server: SpiffeId,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn id(&self, chain: &[CertificateDer<'_>]) -> Result<SpiffeId, X509SvidError> {
        let bundle = match &self.trust {
            Trust::Anyone(_) => {
                let first = chain.first().ok_or(X509SvidError::Empty)?;
                return Ok(Certificate::read(first)?.leaf_id()?);
            }
            Trust::Bundle(bundle) => bundle,
        };
        let now = self.clock.now();
        let checked = verify(chain, bundle, Purpose::Server, now);
        // A certificate that was made a moment ago is good, though our clock may not have come so far yet.
        let is_young = chain
            .first()
            .and_then(|first| Certificate::read(first).ok())
            .is_some_and(|read| read.not_before > now && read.not_before <= now.saturating_add(SKEW));
        let checked = if checked.is_err() && is_young {
            verify(chain, bundle, Purpose::Server, now.saturating_add(SKEW))
        } else {
            checked
        };
        checked.map(|peer| peer.id)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut chain = vec![end_entity.clone()];
        chain.extend_from_slice(intermediates);
        let id = self.id(&chain).map_err(|error| other(NotTrusted(error.to_string())))?;
        if id != self.server {
            return Err(other(NotTrusted(format!("it is {id}, and {} is expected", self.server))));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
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

/// Why a server is not believed.
#[derive(Debug, thiserror::Error)]
#[error("the server is not who it should be: {0}")]
pub(crate) struct NotTrusted(String);

/// What a handshake failed by, for people: rustls shows what a verifier says as a value of Rust.
pub(super) fn said(error: &std::io::Error) -> String {
    let of_rustls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match of_rustls {
        Some(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(why)))) => why.to_string(),
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("the server has ended the handshake: {alert:?}")
        }
        _ => error.to_string(),
    }
}

fn other(error: NotTrusted) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// How to connect: whom to believe, and what to show.
pub(crate) fn config(
    trust: &Trust,
    own: Option<&X509Svid>,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = SpiffeId::new(trust.trust_domain().clone(), "/spire/server")
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let verifier =
        Verifier { trust: trust.clone(), server, clock: Arc::clone(clock), provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(svid) => {
            let key = PrivateKeyDer::Pkcs8(svid.key.to_pki().clone_key());
            builder.with_client_auth_cert(svid.chain.clone(), key)?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    // A resumed session would go on with the certificate of the time when it began.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}
