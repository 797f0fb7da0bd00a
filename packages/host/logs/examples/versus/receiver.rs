//! Takes syslog messages framed by octet counting, over TLS, and counts them.

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    /// Whom senders verify it with.
    pub(crate) pem: String,
    messages: Arc<AtomicU64>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        let chain = vec![params.signed_by(&key, &authority).unwrap().der().clone()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key.into()).unwrap();
        let config = Arc::new(config);

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let messages = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&messages);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, counted) = (Arc::clone(&config), Arc::clone(&counted));
                thread::spawn(move || {
                    count(StreamOwned::new(ServerConnection::new(config).unwrap(), stream), &counted);
                });
            }
        });
        Self { address, pem: authority.pem(), messages }
    }

    /// How many have come.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

/// Reads `MSG-LEN SP SYSLOG-MSG` (RFC 5425 section 4.3) to the end.
fn count(mut stream: impl Read, messages: &AtomicU64) {
    let mut buffer = vec![0; 1 << 16];
    // Bytes of a message that are still to come, or the digits of its length so far.
    let (mut left, mut digits) = (0, 0_usize);
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        let mut bytes = &buffer[..count];
        while let Some((first, rest)) = bytes.split_first() {
            if left > 0 {
                let part = left.min(bytes.len());
                left -= part;
                bytes = &bytes[part..];
                if left == 0 {
                    messages.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            match first {
                b'0'..=b'9' => digits = digits * 10 + usize::from(first - b'0'),
                b' ' => left = std::mem::take(&mut digits),
                other => panic!("a length has {other:?}"),
            }
            bytes = rest;
        }
    }
}
