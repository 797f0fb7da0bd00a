//! Registries that lie: each lie has its error, and nothing of it stays.

use std::time::Duration;

use lepton_runtime_images::{Digest, ErrorKind, Images};
use serde_json::Value;

use crate::content::{Content, MANIFEST, config, images, layer, names};
use crate::stub::{Asked, Reply, Stub};

fn content() -> Content {
    let mut content = Content::default();
    content.add_image("v1", &[layer(&[("a", &"b".repeat(5000))])]);
    content
}

/// Pulls from a registry whose answers are changed on the way, and gives the error.
async fn lied(change: impl Fn(&Asked, Reply) -> Reply + Send + Sync + 'static) -> (ErrorKind, String) {
    let content = content();
    let stub = Stub::start(move |asked| change(asked, content.answer(asked)));
    let (images, dir) = images(&stub).await;
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    assert!(images.list().is_empty());
    images.collect().await.unwrap();
    for folder in ["blobs/sha256", "partial", "layers", "scratch", "names"] {
        assert_eq!(names(&dir.path().join(folder)), Vec::<String>::new(), "{folder}");
    }
    (error.kind(), error.to_string())
}

fn check((kind, text): (ErrorKind, String), wanted: ErrorKind, word: &str) {
    assert_eq!(kind, wanted, "{text}");
    assert!(text.contains(word), "{text}");
}

fn is_layer(asked: &Asked) -> bool {
    // The first blob that is asked for is the configuration.
    asked.path.contains("/blobs/") && !asked.path.contains(&config_digest())
}

fn config_digest() -> String {
    let content = content();
    let (_, manifest) = &content.manifests["v1"];
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_of_the_same_length() {
    let lie = |asked: &Asked, reply: Reply| if is_layer(asked) { reply.flipped() } else { reply };
    check(lied(lie).await, ErrorKind::DataLoss, "has other content");
    let lie =
        |asked: &Asked, reply: Reply| if asked.path.contains("/blobs/") { reply.flipped() } else { reply };
    check(lied(lie).await, ErrorKind::DataLoss, "has other content");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_size() {
    let lie = |asked: &Asked, reply: Reply| if is_layer(asked) { reply.body("short") } else { reply };
    check(lied(lie).await, ErrorKind::DataLoss, "the manifest says");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end() {
    let lie =
        |asked: &Asked, reply: Reply| if is_layer(asked) { reply.body("again").endless() } else { reply };
    check(lied(lie).await, ErrorKind::DataLoss, "bytes instead of");
    let lie = |asked: &Asked, reply: Reply| match asked.method.as_str() {
        "GET" if asked.path.contains("/manifests/") => reply.body(" ".repeat(1000)).endless(),
        _ => reply,
    };
    check(lied(lie).await, ErrorKind::ResourceExhausted, "more than 4194304 bytes");
    let lie = |_: &Asked, _: Reply| Reply::new(500).body(" ".repeat(1000)).endless();
    check(lied(lie).await, ErrorKind::Unavailable, "status 500");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_early_each_time() {
    let lie = |asked: &Asked, reply: Reply| if is_layer(asked) { reply.cut(0) } else { reply };
    check(lied(lie).await, ErrorKind::Unavailable, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_part_than_was_asked_for() {
    let lie = |asked: &Asked, reply: Reply| match (is_layer(asked), asked.header("range")) {
        (true, "") => reply.cut(10),
        (true, _) => Reply::new(206).header("Content-Range", "bytes 0-4/5").body("wrong"),
        _ => reply,
    };
    check(lied(lie).await, ErrorKind::Unavailable, "another part");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_manifest() {
    let other = Digest::of(b"other").to_string();
    let lie = move |asked: &Asked, reply: Reply| match asked.path.contains("/manifests/") {
        true => reply.without("Docker-Content-Digest").header("Docker-Content-Digest", &other),
        false => reply,
    };
    check(lied(lie).await, ErrorKind::DataLoss, "sends another manifest");
    let content = content();
    let stub = Stub::start(move |asked| {
        content.answer(&Asked { path: "/v2/x/manifests/v1".into(), ..asked.clone() })
    });
    let (images, _dir) = images(&stub).await;
    let name = format!("{}/tool@{}", stub.host(), Digest::of(b"other"));
    let error = images.pull(&name, None).await.unwrap_err();
    check((error.kind(), error.to_string()), ErrorKind::DataLoss, "sends another manifest");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_types() {
    let typed = |kind: &'static str| {
        move |asked: &Asked, reply: Reply| match asked.path.contains("/manifests/") {
            true => reply.without("Content-Type").header("Content-Type", kind),
            false => reply,
        }
    };
    check(lied(typed("text/html")).await, ErrorKind::InvalidArgument, "content type \"text/html\"");
    let index = "application/vnd.oci.image.index.v1+json";
    check(lied(typed(index)).await, ErrorKind::InvalidArgument, "the registry says");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_in_circles() {
    let lie = |asked: &Asked, reply: Reply| match asked.path.contains("/blobs/") {
        true => Reply::new(302).header("Location", &format!("{}x", asked.path)),
        false => reply,
    };
    check(lied(lie).await, ErrorKind::Unavailable, "redirects more than 5 times");
    let lie = |asked: &Asked, reply: Reply| match asked.path.contains("/blobs/") {
        true => Reply::new(302).header("Location", "gopher://x.example/"),
        false => reply,
    };
    check(lied(lie).await, ErrorKind::Unavailable, "no place to go to");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_is_not_the_configured_one() {
    let mut content = content();
    let (_, manifest) = content.manifests["v1"].clone();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let wrong = layer(&[("a", "another")]);
    let digest = content.add_blob(&wrong);
    manifest["layers"][0]["digest"] = digest.to_string().into();
    manifest["layers"][0]["size"] = wrong.len().into();
    content.add_manifest("v1", MANIFEST, manifest.to_string().as_bytes());
    let stub = content.serve();
    let (images, dir) = images(&stub).await;
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    check((error.kind(), error.to_string()), ErrorKind::DataLoss, "the image's configuration says");
    assert_eq!(names(&dir.path().join("layers")), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn sizes_beyond_the_limits() {
    let sized = |field: &'static str, size: u64| {
        let mut content = content();
        let (_, manifest) = content.manifests["v1"].clone();
        let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
        match field {
            "config" => manifest["config"]["size"] = size.into(),
            _ => manifest["layers"][0]["size"] = size.into(),
        }
        content.add_manifest("v1", MANIFEST, manifest.to_string().as_bytes());
        content.serve()
    };
    for (field, size) in [("config", 5 << 20), ("layers", 33 << 30), ("layers", u64::MAX)] {
        let stub = sized(field, size);
        let (images, _dir) = images(&stub).await;
        let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
        assert!(error.to_string().contains("the limit is"), "{error}");
        assert!(stub.count("GET", "/blobs/") <= 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_does_not_answer() {
    let stub = Stub::start(|_| Reply::new(200).delay(Duration::from_secs(600)));
    let dir = tempfile::tempdir().unwrap();
    let mut settings = config(dir.path(), &[&stub]);
    settings.limits.answer = Duration::from_millis(100);
    settings.limits.tries = 1;
    let images = Images::open(settings).await.unwrap();
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    check((error.kind(), error.to_string()), ErrorKind::Unavailable, "get an answer from");
    drop(images);
    let mut settings = config(dir.path(), &[&stub]);
    settings.limits.pull = Duration::from_millis(100);
    let images = Images::open(settings).await.unwrap();
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    check((error.kind(), error.to_string()), ErrorKind::DeadlineExceeded, "not done");
}
