//! Finds a cluster's certificate authority by the digest of its public key.
//!
//! The first connection believes anybody and says nothing that is secret: it looks at the certificates that the server
//! shows, and at the public ConfigMap `cluster-info` (kube-public), as kubeadm does. Of either only a certificate with
//! the pinned key counts. A second connection, verified by it, makes sure that the server belongs to that authority;
//! what is secret is sent by kubelet, over connections of the same kind.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lepton_pod_manifest as manifest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme, StreamOwned,
};
use serde_json::Value;

use super::{http, kubeconfig, pin};

const CLUSTER_INFO: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
const HTTPS: u16 = 443;
/// Of each step of a connection.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no authority; the server may be asked again.
type Sentence = String;

/// The authority's certificate (PEM), once the server has proved that it belongs to it.
pub(super) fn authority(server: &str, ca_hash: &str) -> Result<String, Sentence> {
    let place = Place::parse(server)?;
    let certificate = find(&place, ca_hash)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).map_err(|error| format!("the certificate of its authority: {error}"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut stream = place.connect(config)?;
    stream
        .conn
        .complete_io(&mut stream.sock)
        .map_err(|error| format!("the server does not belong to the authority {ca_hash}: {error}"))?;
    Ok(pem(&certificate))
}

/// A certificate with the pinned key, from the server's own chain or from `cluster-info`.
fn find(place: &Place, ca_hash: &str) -> Result<CertificateDer<'static>, Sentence> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let witness = Arc::new(Witness { provider: provider.clone(), shown: Mutex::default() });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(witness.clone())
        .with_no_client_auth();
    let mut stream = place.connect(config)?;
    let answer = http::get(&mut stream, &place.host, CLUSTER_INFO);
    let is_pinned = |certificate: &CertificateDer<'_>| pin::of(certificate).as_deref() == Some(ca_hash);
    let shown = witness.shown.lock().map(|shown| shown.clone()).unwrap_or_default();
    if let Some(certificate) = shown.into_iter().find(is_pinned) {
        return Ok(certificate);
    }
    let ca = authority_of_cluster_info(&answer?)?;
    let certificates = CertificateDer::pem_slice_iter(ca.as_bytes()).flatten();
    certificates.into_iter().find(is_pinned).ok_or_else(|| {
        format!("neither its certificate nor its cluster-info has an authority with the public key {ca_hash} (kubelet.ca-hash)")
    })
}

/// The ConfigMap holds a kubeconfig without credentials.
fn authority_of_cluster_info(answer: &[u8]) -> Result<String, Sentence> {
    let map: Value = serde_json::from_slice(answer).map_err(|error| format!("its cluster-info: {error}"))?;
    let text = map
        .pointer("/data/kubeconfig")
        .and_then(Value::as_str)
        .ok_or("its cluster-info has no kubeconfig")?;
    let config =
        manifest::parse(text).map_err(|error| format!("the kubeconfig of its cluster-info: {error}"))?;
    let data = config.pointer("/clusters/0/cluster/certificate-authority-data").and_then(Value::as_str);
    data.and_then(kubeconfig::pem)
        .ok_or_else(|| "its cluster-info has no certificate-authority-data".to_owned())
}

fn pem(certificate: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let lines = text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line) + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

/// Where a server listens.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// Without brackets.
    host: String,
    port: u16,
}

impl Place {
    /// From `https://HOST[:PORT]`.
    fn parse(url: &str) -> Result<Self, Sentence> {
        let bad = || format!("{url} is not of the form https://HOST[:PORT]");
        let authority = url.strip_prefix("https://").ok_or_else(bad)?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| bad())?),
            _ => (authority, HTTPS),
        };
        Ok(Self { host: host.trim_matches(['[', ']']).to_owned(), port })
    }

    /// TLS to the first address that answers.
    fn connect(&self, config: ClientConfig) -> Result<StreamOwned<ClientConnection, TcpStream>, Sentence> {
        let addresses = (self.host.as_str(), self.port).to_socket_addrs();
        let mut last = format!("{} has no address", self.host);
        for address in addresses.map_err(|error| format!("cannot find {}: {error}", self.host))? {
            match TcpStream::connect_timeout(&address, TIMEOUT) {
                Ok(stream) => {
                    let limits =
                        [stream.set_read_timeout(Some(TIMEOUT)), stream.set_write_timeout(Some(TIMEOUT))];
                    limits.into_iter().collect::<Result<(), _>>().map_err(|error| error.to_string())?;
                    let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
                    let connection =
                        ClientConnection::new(Arc::new(config), name).map_err(|error| error.to_string())?;
                    return Ok(StreamOwned::new(connection, stream));
                }
                Err(error) => last = format!("cannot connect to {address}: {error}"),
            }
        }
        Err(last)
    }
}

/// Believes every certificate and remembers them; signatures are still checked.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    shown: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if let Ok(mut shown) = self.shown.lock() {
            *shown = std::iter::once(leaf).chain(others).map(|one| one.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
