//! Pulls from Debian's docker-registry: plain and over TLS with basic authentication, and with one killed in the middle.
//! `LEPTON_TEST_STORE` names the store whose tool trees have it and openssl. Everything is on loopback.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "this is a test; it starts programs, and is told where the store is"
)]

#[path = "images/content.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod content;
#[path = "images/proxy.rs"]
mod proxy;
#[path = "images/stub.rs"]
#[expect(dead_code, reason = "other tests use it")]
mod stub;

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use lepton_runtime_images::{Config, Credentials, Endpoint, ErrorKind, Images, Proxies, RegistryConfig};

use crate::content::{Content, layer, read};
use crate::proxy::HttpProxy;

const STORE: &str = "LEPTON_TEST_STORE";
/// A machine that runs many tests at a time is slow.
const PATIENCE: Duration = Duration::from_secs(60);
/// A published test vector of bcrypt, and its password.
const HASH: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const PASSWORD: &str = "U*U";

/// A registry that runs, and ends with this value.
struct Registry {
    child: Child,
    port: u16,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program of a tool tree with its own loader and libraries; none when there is no store.
fn tool(name: &str) -> Option<Command> {
    let Some(store) = std::env::var_os(STORE).map(PathBuf::from) else {
        eprintln!("left out: {STORE} is not set, so there is no docker-registry");
        return None;
    };
    let trees = std::fs::read_dir(store.join("trees")).expect("a store");
    let mut trees = trees.filter_map(|entry| Some(entry.ok()?.path()));
    let program = format!("usr/bin/{name}");
    let tree = trees.find(|tree| tree.join(&program).exists()).expect("a tool tree that has it");
    let arch = std::env::consts::ARCH;
    let loaders = ["usr/lib64/ld-linux-x86-64.so.2", "usr/lib/ld-linux-aarch64.so.1"];
    let loader = loaders.map(|loader| tree.join(loader)).into_iter().find(|loader| loader.exists());
    let mut command = Command::new(loader.expect("a loader in the tool tree"));
    command.arg("--library-path").arg(tree.join(format!("usr/lib/{arch}-linux-gnu"))).arg(tree.join(program));
    Some(command)
}

impl Registry {
    /// Starts one on a free port; `more` is what its settings say besides.
    fn start(dir: &Path, more_http: &str, more: &str) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let storage = dir.join("storage");
        let settings = format!(
            "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: test\n{more_http}{more}",
            storage.display()
        );
        let file = dir.join(format!("registry-{port}.yml"));
        std::fs::write(&file, settings).unwrap();
        let mut command = tool("docker-registry")?;
        let child = command.arg("serve").arg(&file).stdout(Stdio::null()).spawn().unwrap();
        let registry = Self { child, port };
        let end = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "docker-registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(registry)
    }

    fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends a request; gives status and `Location`.
    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.host(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap_or_default();
        (status, location.trim().to_owned())
    }

    fn push(&self, content: &Content) {
        for (digest, bytes) in &content.blobs {
            let (status, location) = self.send("POST", "/v2/team/tool/blobs/uploads/", "", b"");
            assert_eq!(status, 202);
            let path = location.split_once(&self.host()).unwrap().1;
            let path = format!("{path}&digest={digest}");
            assert_eq!(self.send("PUT", &path, "application/octet-stream", bytes).0, 201);
        }
        for (tag, (kind, bytes)) in &content.manifests {
            assert_eq!(self.send("PUT", &format!("/v2/team/tool/manifests/{tag}"), kind, bytes).0, 201);
        }
    }
}

fn image() -> Content {
    let mut content = Content::default();
    let noise: String =
        (0..40_000_u32).map(|number| format!("{:x}", number.wrapping_mul(2_654_435_761))).collect();
    content.add_image("v1", &[layer(&[("a", "lower"), ("noise", &noise)]), layer(&[("a", "upper")])]);
    content
}

fn settings(root: PathBuf, host: String, endpoint: Endpoint) -> Config {
    let registries = vec![RegistryConfig { host, endpoints: vec![endpoint], only_endpoints: false }];
    Config { registries, durable: false, ..Config::new(root) }
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_and_killed() {
    let dir = tempfile::tempdir().unwrap();
    let Some(registry) = Registry::start(dir.path(), "", "") else { return };
    registry.push(&image());
    let name = format!("{}/team/tool:v1", registry.host());
    let endpoint = Endpoint { url: format!("http://{}", registry.host()), ..Endpoint::default() };
    let mut settings = settings(dir.path().join("root"), registry.host(), endpoint);
    settings.limits.pause = Duration::from_millis(10);
    let images = Images::open(settings).await.unwrap();
    let pulled = images.pull(&name, None).await.unwrap();
    let snapshot = images.prepare(&pulled.repo_digest, "a").await.unwrap();
    assert_eq!(read(&snapshot, "a").unwrap(), "upper");
    let missing = images.pull(&format!("{}/team/tool:none", registry.host()), None).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let again = images.pull(&name, None).await.unwrap();
    assert_eq!(again.id, pulled.id);
    drop(registry);
    let error = images.pull(&name, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert_eq!(images.get(&name).unwrap().id, pulled.id);
}

/// A registry over TLS with a certificate for `name`, and with the user `web`.
fn secured(dir: &Path, name: &str) -> Registry {
    let path = |name: &str| dir.join(name);
    std::fs::write(path("openssl.cnf"), "[req]\ndistinguished_name = name\n[name]\n").unwrap();
    let made = tool("openssl")
        .unwrap()
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-days", "3650", "-subj", "/CN=test", "-addext", &format!("subjectAltName={name}")])
        .arg("-config")
        .arg(path("openssl.cnf"))
        .arg("-keyout")
        .arg(path("key.pem"))
        .arg("-out")
        .arg(path("cert.pem"))
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    std::fs::write(path("htpasswd"), format!("web:{HASH}\n")).unwrap();
    let tls = format!(
        "  tls:\n    certificate: {}\n    key: {}\n",
        path("cert.pem").display(),
        path("key.pem").display()
    );
    let auth = format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", path("htpasswd").display());
    Registry::start(dir, &tls, &auth).unwrap()
}

fn user(password: &str) -> Credentials {
    Credentials { username: "web".into(), password: password.into(), ..Credentials::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_basic_authentication() {
    let dir = tempfile::tempdir().unwrap();
    let Some(plain) = Registry::start(dir.path(), "", "") else { return };
    plain.push(&image());
    drop(plain);
    let path = |name: &str| dir.path().join(name);
    let registry = secured(dir.path(), "IP:127.0.0.1");
    let url = format!("https://{}", registry.host());
    let name = format!("{}/team/tool:v1", registry.host());
    let open = |number: u32, endpoint: Endpoint| {
        let mut settings = settings(path(&format!("root-{number}")), registry.host(), endpoint);
        settings.limits.tries = 1;
        Images::open(settings)
    };
    let verified = Endpoint { url: url.clone(), ca_file: Some(path("cert.pem")), ..Endpoint::default() };
    let images = open(1, verified).await.unwrap();
    assert_eq!(images.pull(&name, None).await.unwrap_err().kind(), ErrorKind::Unauthenticated);
    let error = images.pull(&name, Some(&user("wrong"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    images.pull(&name, Some(&user(PASSWORD))).await.unwrap();
    // Without its certificate it is nobody's registry, unless the settings say that anyone will do.
    let unknown = open(2, Endpoint { url: url.clone(), ..Endpoint::default() }).await.unwrap();
    let error = unknown.pull(&name, Some(&user(PASSWORD))).await.unwrap_err();
    assert!(error.to_string().contains("no certificates"), "{error}");
    let anyone = open(3, Endpoint { url, skip_verify: true, ..Endpoint::default() }).await.unwrap();
    anyone.pull(&name, Some(&user(PASSWORD))).await.unwrap();
}

/// The name of the registry leads somewhere at the proxy alone, and TLS goes from end to end.
#[tokio::test(flavor = "multi_thread")]
async fn tls_through_a_proxy() {
    let dir = tempfile::tempdir().unwrap();
    let Some(plain) = Registry::start(dir.path(), "", "") else { return };
    plain.push(&image());
    drop(plain);
    let registry = secured(dir.path(), "DNS:registry.example");
    let place = "registry.example:5443";
    // `edge:s cret`
    let proxy = HttpProxy::start(&[(place, registry.port)], "Basic ZWRnZTpzIGNyZXQ=");
    let endpoint = Endpoint {
        url: format!("https://{place}"),
        ca_file: Some(dir.path().join("cert.pem")),
        ..Endpoint::default()
    };
    let open = |number: u32, password: &str| {
        let root = dir.path().join(format!("root-{number}"));
        let mut settings = settings(root, place.to_owned(), endpoint.clone());
        settings.limits.tries = 1;
        let https = Some(format!("http://edge:{password}@{}", proxy.host()));
        settings.proxies = Proxies { https, ..Proxies::default() };
        Images::open(settings)
    };
    let name = format!("{place}/team/tool:v1");
    open(1, "s%20cret").await.unwrap().pull(&name, Some(&user(PASSWORD))).await.unwrap();
    let asked = proxy.asked();
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|line| line == "200 CONNECT registry.example:5443 HTTP/1.1"), "{asked:?}");
    let error = open(2, "wr0ng").await.unwrap().pull(&name, Some(&user(PASSWORD))).await.unwrap_err();
    assert!(error.to_string().contains("407") && !error.to_string().contains("wr0ng"), "{error}");
    // Without the way that the proxy knows there is none.
    let mut alone = settings(dir.path().join("root-3"), place.to_owned(), endpoint.clone());
    alone.limits.tries = 1;
    let error = Images::open(alone).await.unwrap().pull(&name, None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
