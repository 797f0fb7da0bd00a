//! Pulls from a registry that does as it should.

use lepton_runtime_images::{Digest, ErrorKind, Images, Source};
use serde_json::json;

use crate::content::{
    Content, INDEX, MANIFEST, architecture, config, descriptor, images, layer, names, read,
};
use crate::stub::{Reply, Stub};

fn two_layers() -> Vec<Vec<u8>> {
    vec![layer(&[("etc/name", "lower"), ("etc/other", "kept")]), layer(&[("etc/name", "upper")])]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_named_and_prepared() {
    let mut content = Content::default();
    let (id, manifest) = content.add_image("v1", &two_layers());
    let stub = content.serve();
    let (images, dir) = images(&stub).await;
    let name = format!("{}/team/tool:v1", stub.host());
    let pulled = images.pull(&name, None).await.unwrap();
    assert_eq!(pulled.id, id);
    assert_eq!(pulled.repo_digest, format!("{}/team/tool@{}", stub.host(), Digest::of(&manifest)));
    let record = images.get(&name).unwrap();
    assert_eq!(
        (record.repo_tags, record.repo_digests),
        (vec![name.clone()], vec![pulled.repo_digest.clone()])
    );
    assert_eq!((record.config.user.as_str(), record.source, record.pinned), ("7:8", Source::Registry, false));
    let hex = id.hex();
    let beginnings = [hex.clone(), id.to_string(), hex[..12].to_owned(), format!("sha256:{}", &hex[..5])];
    for other in beginnings.iter().chain([&pulled.repo_digest, &Digest::of(&manifest).to_string()]) {
        assert_eq!(images.get(other).unwrap().id, id, "{other}");
    }
    let snapshot = images.prepare(&name, "container-1").await.unwrap();
    assert_eq!(snapshot.lower.len(), 2);
    assert_eq!(read(&snapshot, "etc/name").unwrap(), "upper");
    assert_eq!(read(&snapshot, "etc/other").unwrap(), "kept");
    assert_eq!(images.snapshot("container-1").unwrap(), snapshot);
    std::fs::write(snapshot.upper.join("new"), vec![1; 10_000]).unwrap();
    let usage = images.usage("container-1").await.unwrap();
    assert!(usage.bytes >= 10_000 && usage.inodes == 2, "{usage:?}");
    // Compressed layers are not kept: manifest and configuration are.
    assert_eq!(names(&dir.path().join("blobs/sha256")).len(), 2);
    assert!(names(&dir.path().join("partial")).is_empty() && names(&dir.path().join("scratch")).is_empty());
    images.remove_snapshot("container-1").await.unwrap();
    images.remove_snapshot("container-1").await.unwrap();
    assert_eq!(images.snapshots(), Vec::<String>::new());
    assert_eq!(images.snapshot("container-1").unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_pull_asks_for_the_digest_alone() {
    let mut content = Content::default();
    content.add_image("v1", &two_layers());
    let stub = content.serve();
    let (images, _dir) = images(&stub).await;
    let name = format!("{}/tool:v1", stub.host());
    assert!(images.pull(&name, None).await.unwrap().downloaded > 0);
    let before = stub.asked().len();
    images.pull(&name, None).await.unwrap();
    assert_eq!(stub.asked().len(), before + 1);
    assert_eq!(stub.asked()[before].method, "HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_leaves_the_former_image_without_it() {
    let mut first = Content::default();
    let (old, _) = first.add_image("latest", &two_layers());
    let mut second = Content::default();
    let (new, _) = second.add_image("latest", &[layer(&[("a", "b")])]);
    let moved = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let seen = moved.clone();
    let stub = Stub::start(move |asked| {
        let content = if seen.load(std::sync::atomic::Ordering::SeqCst) { &second } else { &first };
        content.answer(asked)
    });
    let (images, _dir) = images(&stub).await;
    let name = format!("{}/tool", stub.host());
    assert_eq!(images.pull(&name, None).await.unwrap().id, old);
    moved.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(images.pull(&name, None).await.unwrap().id, new);
    assert_eq!(images.get(&name).unwrap().id, new);
    let former = images.get(&old.to_string()).unwrap();
    assert!(former.repo_tags.is_empty() && former.repo_digests.len() == 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_for_this_architecture_is_chosen() {
    let mut content = Content::default();
    let (id, own) = content.add_image("own", &[layer(&[("a", "own")])]);
    let (_, other) = content.add_image_for("other", &[layer(&[("a", "other")])], "s390x");
    let mut entries = [descriptor(MANIFEST, &other), descriptor(MANIFEST, &own)];
    entries[0]["platform"] = json!({"os": "linux", "architecture": "s390x"});
    entries[1]["platform"] = json!({"os": "linux", "architecture": architecture()});
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
    let target = content.add_manifest("all", INDEX, index.as_bytes());
    let foreign = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entries[0]]}).to_string();
    content.add_manifest("foreign", INDEX, foreign.as_bytes());
    let stub = content.serve();
    let (images, _dir) = images(&stub).await;
    let pulled = images.pull(&format!("{}/tool:all", stub.host()), None).await.unwrap();
    assert_eq!(pulled.id, id);
    assert!(pulled.repo_digest.ends_with(&target.to_string()));
    // By the digest of the index as well.
    let by_digest = images.pull(&pulled.repo_digest, None).await.unwrap();
    assert_eq!((by_digest.id, by_digest.downloaded > 1000), (id, false));
    let error = images.pull(&format!("{}/tool:foreign", stub.host()), None).await.unwrap_err();
    assert!(error.to_string().contains("it has: linux/s390x"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pulls_download_once() {
    let mut content = Content::default();
    let (id, _) = content.add_image("v1", &two_layers());
    let stub = Stub::start(move |asked| content.answer(asked).delay(std::time::Duration::from_millis(20)));
    let (images, _dir) = images(&stub).await;
    let name = format!("{}/tool:v1", stub.host());
    let pulls: Vec<_> = (0..6)
        .map(|_| {
            let (images, name) = (images.clone(), name.clone());
            tokio::spawn(async move { images.pull(&name, None).await.unwrap().id })
        })
        .collect();
    for pull in pulls {
        assert_eq!(pull.await.unwrap(), id);
    }
    assert_eq!(stub.count("GET", "/blobs/"), 3, "{:?}", stub.asked());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on() {
    let mut content = Content::default();
    content.add_image("v1", &[layer(&[("a", &"b".repeat(9)), ("noise", &noise())])]);
    let stub = Stub::start(move |asked| {
        let reply = content.answer(asked);
        // The large one needs three requests.
        if asked.path.contains("/blobs/") && asked.header("range").is_empty() {
            reply.clone().cut_large(3000)
        } else {
            reply.cut_large(6000)
        }
    });
    let (images, _dir) = images(&stub).await;
    images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap();
    let ranges: Vec<String> = stub
        .asked()
        .iter()
        .map(|asked| asked.header("range").to_owned())
        .filter(|range| !range.is_empty())
        .collect();
    assert!(ranges.len() >= 2 && ranges.iter().all(|range| range != "bytes=0-"), "{ranges:?}");
}

/// Text that does not compress.
fn noise() -> String {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'!' + u8::try_from((state >> 16) % 90).unwrap())
    };
    (0..20_000).map(next).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_busy_is_asked_again() {
    let mut content = Content::default();
    content.add_image("v1", &two_layers());
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let stub = Stub::start(move |asked| {
        let count = failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match count % 3 {
            0 => Reply::new(503),
            1 => Reply::new(429).header("Retry-After", "0"),
            _ => content.answer(asked),
        }
    });
    let (images, _dir) = images(&stub).await;
    images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap();
    let stub = Stub::start(|_| Reply::new(500));
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(config(dir.path(), &[&stub])).await.unwrap();
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(stub.count("GET", ""), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let stub = Content::default().serve();
    let (images, _dir) = images(&stub).await;
    let error = images.pull(&format!("{}/tool:v1", stub.host()), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("MANIFEST_UNKNOWN, manifest unknown"), "{error}");
    assert_eq!(images.get("busybox").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(images.pull("UPPER CASE", None).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(images.prepare("busybox", "a").await.unwrap_err().kind(), ErrorKind::NotFound);
}
