//! Where a registry is asked: mirrors, plain HTTP, proxies.

use lepton_runtime_images::{Credentials, Endpoint, ErrorKind, Images, Proxies, RegistryConfig};

use crate::content::{Content, config, layer};
use crate::stub::{Reply, Stub};

fn content() -> Content {
    let mut content = Content::default();
    content.add_image("v1", &[layer(&[("a", "b")])]);
    content
}

fn endpoint(url: String) -> Endpoint {
    Endpoint { url, ..Endpoint::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_are_asked_in_order() {
    // Nobody listens at the first, the second fails, the third has it.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let closed = format!("http://{closed}");
    let failing = Stub::start(|_| Reply::new(502));
    let good = content().serve();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    settings.registries = vec![RegistryConfig {
        host: "registry.example".into(),
        endpoints: vec![
            endpoint(closed),
            endpoint(failing.url()),
            endpoint(format!("{}/prefix/", good.url())),
        ],
        only_endpoints: true,
    }];
    let images = Images::open(settings).await.unwrap();
    let known = Credentials { registry_token: "secret".into(), ..Credentials::default() };
    let pulled = images.pull("registry.example/tool:v1", Some(&known)).await.unwrap();
    assert!(pulled.repo_digest.starts_with("registry.example/tool@"));
    let asked = good.asked();
    assert!(asked.iter().all(|asked| asked.path.starts_with("/prefix/v2/tool/")));
    assert!(asked.iter().all(|asked| asked.path.ends_with("?ns=registry.example")));
    // A mirror is not the registry that the credentials are for.
    assert!(asked.iter().all(|asked| asked.header("authorization").is_empty()));
    // One that failed is left alone for the rest of the pull.
    assert_eq!(failing.asked().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_gets_credentials_when_the_settings_say_so() {
    let good = content().serve();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    let place = Endpoint { gets_credentials: true, ..endpoint(good.url()) };
    settings.registries =
        vec![RegistryConfig { host: "docker.io".into(), endpoints: vec![place], only_endpoints: true }];
    let images = Images::open(settings).await.unwrap();
    let known = Credentials { registry_token: "secret".into(), ..Credentials::default() };
    images.pull("tool:v1", Some(&known)).await.unwrap();
    assert!(good.asked().iter().all(|asked| asked.header("authorization") == "Bearer secret"));
    assert!(good.asked().iter().all(|asked| asked.path.starts_with("/v2/library/tool/")));
    assert_eq!(images.get("tool:v1").unwrap().repo_tags, ["docker.io/library/tool:v1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_must_be_listed() {
    let stub = content().serve();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    settings.limits.tries = 1;
    settings.limits.connect = std::time::Duration::from_millis(500);
    let images = Images::open(settings).await.unwrap();
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    assert!(stub.asked().iter().all(|asked| !asked.method.contains("GET")));
}

/// Nothing is asked directly when the settings forbid it and leave nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_no_endpoint_left_is_not_asked() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    settings.registries =
        vec![RegistryConfig { host: "registry.invalid".into(), endpoints: Vec::new(), only_endpoints: true }];
    let images = Images::open(settings).await.unwrap();
    let error = images.pull("registry.invalid/tool:v1", None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    assert!(error.to_string().contains("none of them is usable"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_through_a_proxy() {
    let content = content();
    let proxy = Stub::start(move |asked| content.answer(asked));
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    let place = endpoint("http://registry.invalid".into());
    settings.registries = vec![RegistryConfig {
        host: "registry.invalid".into(),
        endpoints: vec![place],
        only_endpoints: false,
    }];
    settings.proxies = Proxies { http: Some(format!("http://u:p@{}", proxy.host())), ..Proxies::default() };
    let images = Images::open(settings).await.unwrap();
    images.pull("registry.invalid/tool:v1", None).await.unwrap();
    let asked = proxy.asked();
    assert!(asked.iter().all(|asked| asked.path.starts_with("http://registry.invalid/v2/tool/")));
    assert!(asked.iter().all(|asked| asked.header("proxy-authorization") == "Basic dTpw"));
    assert!(asked.iter().all(|asked| asked.header("host") == "registry.invalid"));
}

#[tokio::test(flavor = "multi_thread")]
async fn https_through_a_proxy() {
    let proxy = Stub::start(|_| Reply::new(403));
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[]);
    settings.proxies = Proxies { https: Some(proxy.url()), ..Proxies::default() };
    let images = Images::open(settings).await.unwrap();
    let error = images.pull("registry.invalid/tool:v1", None).await.unwrap_err();
    assert!(error.to_string().contains("it does not connect to registry.invalid:443"), "{error}");
    assert_eq!(
        (proxy.asked()[0].method.as_str(), proxy.asked()[0].path.as_str()),
        ("CONNECT", "registry.invalid:443")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_refused() {
    for url in ["registry.example", "ftp://x.example", "http://u:p@x.example", "https://x.example/?a"] {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = config(dir.path(), &[]);
        settings.registries = vec![RegistryConfig {
            host: "x".into(),
            endpoints: vec![endpoint(url.into())],
            only_endpoints: false,
        }];
        let error = Images::open(settings).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }
}
