//! TLS for callers: version 1.3 alone (RFC 8446), always with a certificate of theirs.
//!
//! A handshake succeeds for everybody whom the bundle leads to, also when they may not call: the calls say why. It fails with
//! `certificate_required` without a certificate, with `unknown_ca` for one of another authority, and with `bad_certificate`
//! for one that names nobody.

use std::sync::Arc;

use lepton_spiffe::{Bundle, CertificateDer, X509Svid};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{PrivateKeyDer, UnixTime};
use rustls::server::NoServerSessionStorage;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, PeerMisbehaved, ServerConfig, SignatureScheme,
};

use crate::clock;
use crate::trust::{Distrust, judge};

/// HTTP/2 for calls, and HTTP/1.1 for metrics.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A server with that certificate, for clients that this bundle leads to.
pub(crate) fn server(own: &X509Svid, bundle: &Arc<Bundle>) -> Result<ServerConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier { bundle: Arc::clone(bundle), provider: Arc::clone(&provider) };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(own.chain.clone(), PrivateKeyDer::Pkcs8(own.key.to_pki().clone_key()))?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    // A session that is resumed would go on with what was believed when it began.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[derive(Debug)]
struct Verifier {
    bundle: Arc<Bundle>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Clients have one certificate for a host, and the names of authorities are nobody's business before.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let mut chain = vec![end_entity.clone()];
        chain.extend_from_slice(intermediates);
        match judge(&chain, &self.bundle, clock::seconds()) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(distrust) if distrust.may_be_told() => Ok(ClientCertVerified::assertion()),
            Err(Distrust::NoSvid(_)) => Err(CertificateError::NotValidForName.into()),
            Err(_) => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
