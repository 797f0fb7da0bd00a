//! A kubelet that lists pods to those with a certificate of its authority.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use lepton_workload_api::attest::k8s::KubeletAt;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A kubelet.
pub(crate) struct Kubelet {
    address: SocketAddr,
    credentials: PathBuf,
    list: Arc<Mutex<String>>,
    pub(crate) asked: Arc<Mutex<usize>>,
    task: tokio::task::JoinHandle<()>,
}

impl Kubelet {
    /// Listens, and writes what clients need.
    pub(crate) fn start(folder: &Path, list: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issue = |purpose| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.extended_key_usages = vec![purpose];
            params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
            (params.signed_by(&key, &root).unwrap(), key)
        };
        let (client, key) = issue(ExtendedKeyUsagePurpose::ClientAuth);
        std::fs::write(folder.join("client.pem"), client.pem() + &key.serialize_pem()).unwrap();
        std::fs::write(folder.join("ca.pem"), root.pem()).unwrap();

        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(root.der().to_vec())).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let (server, key) = issue(ExtendedKeyUsagePurpose::ServerAuth);
        let chain = vec![CertificateDer::from(server.der().to_vec())];
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(chain, PrivatePkcs8KeyDer::from(key.serialize_der()).into())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(listener).unwrap();
        let address = listener.local_addr().unwrap();
        let (list, asked) = (Arc::new(Mutex::new(list.to_owned())), Arc::new(Mutex::new(0)));
        let task = tokio::spawn(serve(listener, acceptor, Arc::clone(&list), Arc::clone(&asked)));
        Self { address, credentials: folder.to_owned(), list, asked, task }
    }

    /// Where it is.
    pub(crate) fn at(&self) -> KubeletAt {
        KubeletAt { address: self.address, credentials: self.credentials.clone() }
    }

    /// What it lists from now on.
    pub(crate) fn set(&self, list: &str) {
        list.clone_into(&mut self.list.lock().unwrap());
    }

    /// It goes.
    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    list: Arc<Mutex<String>>,
    asked: Arc<Mutex<usize>>,
) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, list, asked) = (acceptor.clone(), Arc::clone(&list), Arc::clone(&asked));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let mut stream = BufReader::new(stream);
            let mut head = Vec::new();
            while stream.read_until(b'\n', &mut head).await.is_ok_and(|count| count > 0) {
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                assert!(head.starts_with(b"GET /pods HTTP/1.1\r\n"));
                head.clear();
                *asked.lock().unwrap() += 1;
                let body = list.lock().unwrap().clone();
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(answer.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        });
    }
}
