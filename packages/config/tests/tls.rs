//! HTTPS from a server in this program: nothing but a certificate from a root of the host is accepted.

mod server;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lepton_config_fetch::fetch::{FetchError, fetch};
use lepton_config_fetch::url::Wanted;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use server::{CONFIG, listen, ok, serve};

/// A certificate for localhost and 127.0.0.1, and its key; its root is beside it. Valid until 2120; made with openssl.
const SERVER: &[u8] = include_bytes!("certificates/server.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key");
/// Longer than any of these exchanges takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

fn secure(answer: impl Fn(&str) -> String + Send + 'static) -> SocketAddr {
    let certificates = CertificateDer::pem_slice_iter(SERVER).flatten().collect();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let key = PrivateKeyDer::from_pem_slice(KEY).expect("openssl made it");
    let config = config.expect("ring has them").with_no_client_auth().with_single_cert(certificates, key);
    let config = Arc::new(config.expect("they belong together"));
    listen(move |stream| {
        let connection = ServerConnection::new(Arc::clone(&config)).expect("the configuration is good");
        let mut stream = StreamOwned::new(connection, stream);
        serve(&mut stream, &answer);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

fn get(url: &str, roots: &Path) -> Result<String, FetchError> {
    fetch(&Wanted::parse(url).expect("a good URL"), roots, LIMIT)
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates").join(name)
}

#[test]
fn a_certificate_from_a_known_root_and_no_other() {
    let plain = listen(|stream| serve(stream, |_| ok(CONFIG)));
    let to_plain = format!("HTTP/1.1 302 Found\r\nLocation: http://{plain}/\r\n\r\n");
    let address = secure(move |target| if target == "/down" { to_plain.clone() } else { ok(CONFIG) });
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path();
    let error = get(&format!("https://{address}/"), roots).unwrap_err();
    assert!(matches!(error, FetchError::NoRoots(_)), "{error}");
    fs::copy(certificate("root.pem"), roots.join("root.pem")).unwrap();
    assert_eq!(get(&format!("https://{address}/"), roots).unwrap(), CONFIG);
    let error = get(&format!("https://{address}/down"), roots).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the server's redirect is not followed: http://{plain}/ is not https")
    );
    // The right server, and a name that its certificate does not have.
    let error = get(&format!("https://127.0.0.2:{}/", address.port()), roots).unwrap_err();
    assert!(!matches!(error, FetchError::NoRoots(_)), "{error}");
    // The right server, and another root.
    fs::copy(certificate("server.pem"), roots.join("root.pem")).unwrap();
    let error = get(&format!("https://{address}/"), roots).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}
