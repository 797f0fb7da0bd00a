//! Who asks, and whom it is told.

use lepton_runtime_images::{Credentials, ErrorKind};

use crate::content::{Content, images, layer};
use crate::stub::{Asked, Reply, Stub};

fn content() -> Content {
    let mut content = Content::default();
    content.add_image("v1", &[layer(&[("a", "b")])]);
    content
}

fn user(password: &str) -> Credentials {
    Credentials { username: "web".into(), password: password.into(), ..Credentials::default() }
}

/// A token service that takes `allowed`, and the registry that trusts it.
fn bearer(allowed: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> (Stub, Stub) {
    let tokens = Stub::start(move |asked| {
        if allowed(asked) { Reply::new(200).body(r#"{"token":"good"}"#) } else { Reply::new(401) }
    });
    let realm = format!("{}/token?fixed=1", tokens.url());
    let content = content();
    let registry = Stub::start(move |asked| {
        if asked.header("authorization") == "Bearer good" {
            return content.answer(asked);
        }
        let asks =
            format!("Bearer realm=\"{realm}\",service=\"the service\",scope=\"repository:team/tool:pull\"");
        Reply::new(401).header("WWW-Authenticate", &asks).body("{}")
    });
    (registry, tokens)
}

async fn pull(stub: &Stub, known: Option<&Credentials>) -> Result<(), ErrorKind> {
    let (images, _dir) = images(stub).await;
    let pulled = images.pull(&format!("{}/team/tool:v1", stub.host()), known).await;
    pulled.map(drop).map_err(|error| error.kind())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_token() {
    let (registry, tokens) = bearer(|asked| asked.header("authorization").is_empty());
    pull(&registry, None).await.unwrap();
    // One token is enough for a pull.
    assert_eq!(tokens.asked().len(), 1);
    assert_eq!(
        tokens.asked()[0].path,
        "/token?fixed=1&service=the%20service&scope=repository%3Ateam%2Ftool%3Apull"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_user() {
    let (registry, tokens) = bearer(|asked| asked.header("authorization") == "Basic d2ViOnNlY3JldA==");
    pull(&registry, Some(&user("secret"))).await.unwrap();
    assert_eq!(pull(&registry, Some(&user("wrong"))).await, Err(ErrorKind::Unauthenticated));
    // The password goes to the token service alone.
    assert!(registry.asked().iter().all(|asked| !asked.header("authorization").starts_with("Basic")));
    assert_eq!(tokens.asked()[0].method, "GET");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_for_a_refresh_token() {
    let (registry, tokens) =
        bearer(|asked| asked.method == "POST" && asked.body.contains("refresh_token=re%2Ffresh"));
    let known = Credentials { identity_token: "re/fresh".into(), ..Credentials::default() };
    pull(&registry, Some(&known)).await.unwrap();
    assert!(tokens.asked()[0].body.contains("grant_type=refresh_token"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_given() {
    let (registry, tokens) = bearer(|_| false);
    let known = Credentials { registry_token: "good".into(), ..Credentials::default() };
    pull(&registry, Some(&known)).await.unwrap();
    assert!(tokens.asked().is_empty());
    assert_eq!(pull(&registry, None).await, Err(ErrorKind::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn basic_authentication() {
    let content = content();
    let registry = Stub::start(move |asked| match asked.header("authorization") {
        "Basic d2ViOnNlY3JldA==" => content.answer(asked),
        _ => Reply::new(401).header("WWW-Authenticate", "Basic realm=\"here\""),
    });
    pull(&registry, Some(&user("secret"))).await.unwrap();
    assert_eq!(pull(&registry, Some(&user("wrong"))).await, Err(ErrorKind::Unauthenticated));
    assert_eq!(pull(&registry, None).await, Err(ErrorKind::Unauthenticated));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses() {
    let text = r#"{"errors":[{"code":"DENIED","message":"not yours"}]}"#;
    let registry = Stub::start(move |_| Reply::new(403).body(text));
    assert_eq!(pull(&registry, None).await, Err(ErrorKind::PermissionDenied));
    let registry = Stub::start(|_| Reply::new(401).header("WWW-Authenticate", "Negotiate"));
    assert_eq!(pull(&registry, Some(&user("secret"))).await, Err(ErrorKind::Unauthenticated));
    let registry =
        Stub::start(|_| Reply::new(401).header("WWW-Authenticate", "Bearer realm=\"file:///etc/passwd\""));
    assert_eq!(pull(&registry, Some(&user("secret"))).await, Err(ErrorKind::Unavailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_do_not_leak_credentials() {
    let content = content();
    let blobs = content.clone();
    let storage = Stub::start(move |asked| blobs.answer(asked));
    let target = storage.url();
    let registry = Stub::start(move |asked| {
        if asked.header("authorization").is_empty() {
            return Reply::new(401).header("WWW-Authenticate", "Basic");
        }
        match asked.path.contains("/blobs/") {
            true => Reply::new(307).header("Location", &format!("{target}{}?signature=x", asked.path)),
            false => content.answer(asked),
        }
    });
    pull(&registry, Some(&user("secret"))).await.unwrap();
    assert!(!storage.asked().is_empty());
    assert!(storage.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_a_redirect_gets_no_credentials_by_asking() {
    let asking = Stub::start(|_| Reply::new(401).header("WWW-Authenticate", "Basic"));
    let target = asking.url();
    let registry =
        Stub::start(move |asked| Reply::new(302).header("Location", &format!("{target}{}", asked.path)));
    assert_eq!(pull(&registry, Some(&user("secret"))).await, Err(ErrorKind::Unauthenticated));
    assert!(asking.asked().iter().all(|asked| !asked.headers.contains_key("authorization")));
}
