//! TLS, HTTP/2 on both sides, and connections that change their protocol.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::{self, Client, Client2, get, request};
use crate::host::{Host, pod};
use crate::instance::Instance;

const ROOT: &[u8] = include_bytes!("../certificates/root.pem");

/// A certificate as the machine config has it: the files hold certificate and key.
fn certificate(hosts: &str, pem: &str) -> String {
    format!("[[route.certificates]]\nhosts = [\"{hosts}\"]\nchain = '''\n{pem}'''\nkey = '''\n{pem}'''\n")
}

fn certificates() -> String {
    let app = certificate("app.example", include_str!("../certificates/app.pem"));
    app + &certificate("*.app.example", include_str!("../certificates/wild.pem"))
}

async fn tls(host: &Host, name: &str, protocols: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates([CertificateDer::from_pem_slice(ROOT).unwrap()]);
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let stream = TcpStream::connect(host.tls_address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

/// A request of HTTP/2.
fn request2(scheme: &str, host: &str, path: &str) -> http::Request<client::Body> {
    http::Request::builder().uri(format!("{scheme}://{host}{path}")).body(client::Body::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_by_name_and_http2() {
    let host = Host::new(&format!("redirect-https = true\n{}", certificates())).await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example, a.app.example, example", one.address)]);
    host.wait_for("example", 200).await;
    // The certificate is the one of the name: the client checks that.
    for name in ["app.example", "a.app.example"] {
        let stream = tls(&host, name, &["http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(
            Client::over(stream).await.unwrap().send(request(name, "/who")).await.unwrap().text(),
            "one"
        );
    }
    assert!(tls(&host, "example", &[]).await.is_err(), "there is no certificate of that name");

    let stream = tls(&host, "app.example", &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut client = Client2::over(stream).await;
    let mut asked = request2("https", "app.example", "/head");
    asked.headers_mut().append("cookie", "a=1".parse().unwrap());
    asked.headers_mut().append("cookie", "b=2".parse().unwrap());
    let answer = client.send(asked).await.unwrap();
    for line in ["GET /head HTTP/1.1", "host: app.example", "cookie: a=1; b=2", "x-forwarded-proto: https"] {
        assert!(answer.text().lines().any(|it| it == line), "{line} in {}", answer.text());
    }
    // Many at a time, while one of them is slow.
    let mut all = tokio::task::JoinSet::new();
    for path in std::iter::repeat_n("/slow", 20).chain(std::iter::repeat_n("/who", 20)) {
        let mut client = client.clone();
        all.spawn(async move { client.send(request2("https", "app.example", path)).await.unwrap().status });
    }
    assert_eq!(all.join_all().await, [200; 40]);

    // Plain requests for names with a certificate are sent on.
    let answer = get(host.address, "app.example:8080", "/who?a=b").await;
    assert_eq!(answer.status, 308);
    let place = format!("https://app.example:{}/who?a=b", host.tls_address.port());
    assert_eq!(answer.headers["location"].to_str().unwrap(), place);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_come_with_a_new_config() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    host.kubelet.set([pod("one", "app.example", one.address)]);
    host.wait_for("app.example", 200).await;
    assert!(TcpStream::connect(host.tls_address).await.is_err(), "without certificates there is no TLS");
    let mut kept = Client::connect(host.address).await.unwrap();
    kept.send(request("app.example", "/who")).await.unwrap();
    host.configure(&certificates());
    host.wait_for_log("with TLS").await;
    let stream = tls(&host, "app.example", &[]).await.unwrap();
    assert_eq!(
        Client::over(stream).await.unwrap().send(request("app.example", "/who")).await.unwrap().text(),
        "one"
    );
    assert_eq!(kept.send(request("app.example", "/who")).await.unwrap().text(), "one", "it is still there");
    host.configure("trusted-proxies = [\"127.0.0.0/8\"]\n");
    loop {
        let mut asked = request("app.example", "/head");
        asked.headers_mut().insert("x-forwarded-for", "203.0.113.9".parse().unwrap());
        let answer = Client::connect(host.address).await.unwrap().send(asked).await.unwrap();
        if answer.text().contains("x-forwarded-for: 203.0.113.9, 127.0.0.1\n") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(TcpStream::connect(host.tls_address).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_on_both_sides() {
    let host = Host::new("").await;
    let one = Instance::new("one").await;
    let mut two = pod("two", "two.example", one.address);
    two["metadata"]["annotations"]["lepton.route/protocol"] = json!("h2c");
    host.kubelet.set([pod("one", "app.example", one.address), two]);
    host.wait_for("two.example", 200).await;
    let mut client = Client2::over(TcpStream::connect(host.address).await.unwrap()).await;
    let answer = client.send(request2("http", "two.example", "/head")).await.unwrap();
    assert!(answer.text().starts_with("GET http://two.example/head HTTP/2.0\n"), "{}", answer.text());
    assert!(answer.text().contains("x-forwarded-for: 127.0.0.1\n"), "{}", answer.text());
    let answer = client.send(request2("http", "app.example", "/head")).await.unwrap();
    assert!(answer.text().starts_with("GET /head HTTP/1.1\n"), "{}", answer.text());
    let answer = get(host.address, "two.example", "/head").await;
    assert!(answer.text().starts_with("GET http://two.example/head HTTP/2.0\n"), "{}", answer.text());
    let big = client.send(request2("http", "two.example", "/big")).await.unwrap();
    assert_eq!(big.body.len(), 8 << 20);
    let mut posted = request2("http", "two.example", "/count").map(|_| client::Body::from(vec![1; 1 << 20]));
    *posted.method_mut() = http::Method::POST;
    assert_eq!(client.send(posted).await.unwrap().text(), (1 << 20).to_string());
    let mut differing = request2("http", "two.example", "/who");
    differing.headers_mut().insert("host", "app.example".parse().unwrap());
    assert_eq!(client.send(differing).await.unwrap().status, 400);
}

/// An instance that changes the protocol as it is told and then sends back what it gets.
async fn changing(answer: &'static str) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let head = client::read_until(&mut stream, "\r\n\r\n").await;
                if !head.contains("upgrade: echo\r\n") || !head.contains("connection: upgrade\r\n") {
                    let text = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{head}",
                        head.len()
                    );
                    stream.write_all(text.as_bytes()).await.unwrap();
                    return;
                }
                stream.write_all(answer.as_bytes()).await.unwrap();
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
            });
        }
    });
    address
}

const CHANGES: &str =
    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: echo\r\nx-more: 1\r\n\r\nhello";

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_the_protocol() {
    let host = Host::new("").await;
    let address = changing(CHANGES).await;
    host.kubelet.set([pod("one", "app.example", address)]);
    host.wait_for("app.example", 200).await;
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    // What the client sends at once behind its request is passed on, too.
    let head = "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\nat once";
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = client::read_until(&mut stream, "at once").await;
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("hello"), "{answer:?}");
    assert!(answer.contains("upgrade: echo\r\n") && answer.contains("x-more: 1\r\n"), "{answer:?}");
    let sent = vec![b'x'; 1 << 20];
    let (mut read, mut write) = stream.split();
    let mut got = vec![0; sent.len()];
    let (wrote, read_back) = tokio::join!(write.write_all(&sent), read.read_exact(&mut got));
    wrote.unwrap();
    read_back.unwrap();
    assert!(sent == got);
    // One side ends: the other one reads the rest and ends.
    write.shutdown().await.unwrap();
    assert_eq!(read.read(&mut got).await.unwrap(), 0);
    host.wait_for_log(" 101 1048").await;

    // HTTP/2 is no protocol to change to: the request goes on as one of HTTP/1.1.
    let text = "GET / HTTP/1.1\r\nHost: app.example\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    let answer = client::raw(host.address, text.as_bytes()).await;
    assert!(
        answer.starts_with("HTTP/1.1 200 ")
            && !answer.contains("upgrade")
            && !answer.contains("http2-settings"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_asked_for() {
    let host = Host::new("").await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    host.kubelet.set([pod("one", "app.example", listener.local_addr().unwrap())]);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                client::read_until(&mut stream, "\r\n\r\n").await;
                stream.write_all(CHANGES.as_bytes()).await.unwrap();
                let _ = stream.read(&mut [0; 100]).await;
            });
        }
    });
    host.wait_for("app.example", 502).await;
}
