//! Discovery against servers that are right, that show their authority, that lie, and that belong to somebody else.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};

use super::*;

/// An authority and a server certificate of it for 127.0.0.1.
struct Cluster {
    ca: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Cluster {
    fn new() -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap().der().clone();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let leaf =
            CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
        Self { ca, chain: vec![leaf.der().clone()], key }
    }

    fn hash(&self) -> String {
        pin::of(&self.ca).unwrap()
    }

    /// Answers two connections with `answer`; gives the server's URL.
    fn serve(self, answer: String) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, key)
            .unwrap();
        let config = Arc::new(config);
        thread::spawn(move || {
            for stream in listener.incoming().take(2) {
                let connection = ServerConnection::new(config.clone()).unwrap();
                let mut stream = StreamOwned::new(connection, stream.unwrap());
                let mut request = [0; 1024];
                // A client that does not believe the server goes away.
                if stream.read(&mut request).is_ok_and(|len| len > 0) {
                    let said = String::from_utf8_lossy(&request).into_owned();
                    assert!(
                        said.starts_with(&format!("GET {CLUSTER_INFO} ")) && !said.contains("Authorization"),
                        "{said}"
                    );
                    stream.write_all(answer.as_bytes()).unwrap();
                    stream.conn.send_close_notify();
                    stream.flush().unwrap();
                }
            }
        });
        url
    }
}

fn cluster_info(ca: &CertificateDer<'_>) -> String {
    let map =
        serde_json::json!({ "data": { "kubeconfig": kubeconfig::with_token("https://a", &pem(ca), "t") } });
    let body = map.to_string();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn the_authority_of_cluster_info_counts_when_its_key_is_pinned() {
    let cluster = Cluster::new();
    let (hash, want) = (cluster.hash(), pem(&cluster.ca));
    let answer = cluster_info(&cluster.ca);
    assert_eq!(authority(&cluster.serve(answer), &hash), Ok(want));
}

#[test]
fn an_authority_in_the_chain_needs_no_cluster_info() {
    let mut cluster = Cluster::new();
    cluster.chain.push(cluster.ca.clone());
    let (hash, want) = (cluster.hash(), pem(&cluster.ca));
    assert_eq!(authority(&cluster.serve("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()), &hash), Ok(want));
}

#[test]
fn a_server_of_another_authority_is_refused_whatever_it_says() {
    let (liar, victim) = (Cluster::new(), Cluster::new());
    // It shows its own authority.
    let (hash, answer) = (victim.hash(), cluster_info(&liar.ca));
    let error = authority(&liar.serve(answer), &hash).unwrap_err();
    assert!(error.contains("kubelet.ca-hash"), "{error}");
    // It shows the one that is looked for, and cannot prove that it belongs to it.
    let liar = Cluster::new();
    let error = authority(&liar.serve(cluster_info(&victim.ca)), &hash).unwrap_err();
    assert!(error.contains("does not belong to the authority"), "{error}");
}

#[test]
fn a_cluster_without_cluster_info_says_so() {
    let cluster = Cluster::new();
    let hash = cluster.hash();
    let error = authority(&cluster.serve("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned()), &hash).unwrap_err();
    assert!(error.contains("the answer is 403"), "{error}");
}

#[test]
fn places() {
    for (url, host, port) in [
        ("https://a", "a", 443),
        ("https://192.0.2.1:6443", "192.0.2.1", 6443),
        ("https://[2001:db8::1]:6443", "2001:db8::1", 6443),
        ("https://[2001:db8::1]", "2001:db8::1", 443),
    ] {
        assert_eq!(Place::parse(url), Ok(Place { host: host.to_owned(), port }), "{url}");
    }
    assert!(Place::parse("http://a").is_err());
}
