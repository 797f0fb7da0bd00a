//! What stays on the host: names, layers and snapshots, through removals, collections, restarts and damage.

use lepton_runtime_images::{ErrorKind, Images};

use crate::content::{Content, config, images, layer, names, read};

/// Two images that share their lowest layer.
fn pair() -> Content {
    let shared = layer(&[("shared", "yes")]);
    let mut content = Content::default();
    content.add_image("one", &[shared.clone(), layer(&[("one", "1")])]);
    content.add_image("two", &[shared, layer(&[("two", "2")])]);
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_are_shared_and_collected() {
    let stub = pair().serve();
    let (images, dir) = images(&stub).await;
    let (one, two) = (format!("{}/tool:one", stub.host()), format!("{}/tool:two", stub.host()));
    images.pull(&one, None).await.unwrap();
    images.pull(&two, None).await.unwrap();
    let layers = dir.path().join("layers");
    assert_eq!(names(&layers).len(), 3);
    assert_eq!(images.list().len(), 2);
    let snapshot = images.prepare(&two, "a").await.unwrap();
    images.remove(&two).await.unwrap();
    assert_eq!(images.get(&two).unwrap_err().kind(), ErrorKind::NotFound);
    // The container still has its layers.
    assert_eq!(names(&layers).len(), 3);
    assert_eq!(read(&snapshot, "two").unwrap(), "2");
    assert_eq!(images.snapshot("a").unwrap(), snapshot);
    images.remove_snapshot("a").await.unwrap();
    assert_eq!(images.collect().await.unwrap().layers, 1);
    assert_eq!(names(&layers).len(), 2);
    images.remove(&one).await.unwrap();
    for folder in ["layers", "blobs/sha256", "partial", "names", "scratch", "snapshots"] {
        assert_eq!(names(&dir.path().join(folder)), Vec::<String>::new(), "{folder}");
    }
    assert_eq!(images.remove(&one).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_goes_before_the_image() {
    let mut content = Content::default();
    let (id, _) = content.add_image("a", &[layer(&[("x", "y")])]);
    let same = content.manifests["a"].clone();
    content.manifests.insert("b".into(), same);
    let stub = content.serve();
    let (images, _dir) = images(&stub).await;
    let (a, b) = (format!("{}/tool:a", stub.host()), format!("{}/tool:b", stub.host()));
    images.pull(&a, None).await.unwrap();
    images.pull(&b, None).await.unwrap();
    assert_eq!(images.list().len(), 1);
    assert_eq!(images.get(&id.hex()).unwrap().repo_tags, [a.clone(), b.clone()]);
    images.remove(&a).await.unwrap();
    assert_eq!(images.get(&id.hex()).unwrap().repo_tags, std::slice::from_ref(&b));
    images.pull(&a, None).await.unwrap();
    images.remove(&id.to_string()).await.unwrap();
    assert!(images.list().is_empty());
    images.pull(&b, None).await.unwrap();
    images.remove(&b).await.unwrap();
    assert!(images.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_finds_everything() {
    let stub = pair().serve();
    let (images, dir) = images(&stub).await;
    let one = format!("{}/tool:one", stub.host());
    images.pull(&one, None).await.unwrap();
    images.pin(&one, true).await.unwrap();
    let snapshot = images.prepare(&one, "a").await.unwrap();
    let before = images.list();
    let error = Images::open(config(dir.path(), &[&stub])).await.unwrap_err();
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(images);
    let images = Images::open(config(dir.path(), &[&stub])).await.unwrap();
    assert_eq!(images.list(), before);
    assert!(images.get(&one).unwrap().pinned);
    assert_eq!((images.snapshots(), images.snapshot("a").unwrap()), (vec!["a".to_owned()], snapshot.clone()));
    // The same key and image is the same snapshot.
    assert_eq!(images.prepare(&one, "a").await.unwrap(), snapshot);
    images.pull(&format!("{}/tool:two", stub.host()), None).await.unwrap();
    let error = images.prepare(&format!("{}/tool:two", stub.host()), "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition);
    assert_eq!(images.fs_usage().await.unwrap().root, dir.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_dropped() {
    let stub = pair().serve();
    let (images, dir) = images(&stub).await;
    let one = format!("{}/tool:one", stub.host());
    images.pull(&one, None).await.unwrap();
    drop(images);
    // Leftovers of a process that was killed, and files that make no sense.
    for (path, content) in [("names/x.json", "{"), ("scratch/left", "x"), ("partial/left", "x")] {
        std::fs::write(dir.path().join(path), content).unwrap();
    }
    std::fs::create_dir_all(dir.path().join("layers/77/fs")).unwrap();
    std::fs::create_dir_all(dir.path().join("layers/name")).unwrap();
    let images = Images::open(config(dir.path(), &[&stub])).await.unwrap();
    assert_eq!(images.list().len(), 1);
    assert_eq!((names(&dir.path().join("names")).len(), names(&dir.path().join("layers")).len()), (2, 2));
    assert!(names(&dir.path().join("scratch")).is_empty());
    drop(images);
    // A manifest that changed on disk is no manifest of this digest.
    for blob in names(&dir.path().join("blobs/sha256")) {
        std::fs::write(dir.path().join("blobs/sha256").join(blob), "{}").unwrap();
    }
    let images = Images::open(config(dir.path(), &[&stub])).await.unwrap();
    assert!(images.list().is_empty() && names(&dir.path().join("layers")).is_empty());
    images.pull(&one, None).await.unwrap();
    drop(images);
    // A layer that is gone.
    let layers = dir.path().join("layers");
    std::fs::remove_dir_all(layers.join(&names(&layers)[0])).unwrap();
    let images = Images::open(config(dir.path(), &[&stub])).await.unwrap();
    assert!(images.list().is_empty());
    images.pull(&one, None).await.unwrap();
    assert_eq!(images.list().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_cannot_lead_elsewhere() {
    let stub = pair().serve();
    let (images, _dir) = images(&stub).await;
    let one = format!("{}/tool:one", stub.host());
    images.pull(&one, None).await.unwrap();
    let long = "a".repeat(129);
    for key in ["", ".", "..", "../a", "a/b", ".hidden", "a\0b", "ä", &long] {
        assert_eq!(
            images.prepare(&one, key).await.unwrap_err().kind(),
            ErrorKind::InvalidArgument,
            "{key:?}"
        );
        assert_eq!(images.remove_snapshot(key).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_leave_pulls_alone() {
    let content = pair();
    let stub = crate::stub::Stub::start(move |asked| {
        content.answer(asked).delay(std::time::Duration::from_millis(10))
    });
    let (images, _dir) = images(&stub).await;
    let names = ["one", "two"].map(|tag| format!("{}/tool:{tag}", stub.host()));
    for _ in 0..5 {
        let pulls = names.clone().map(|name| {
            let images = images.clone();
            tokio::spawn(async move { images.pull(&name, None).await.unwrap() })
        });
        for _ in 0..20 {
            images.collect().await.unwrap();
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        for pull in pulls {
            pull.await.unwrap();
        }
        for (name, file) in names.iter().zip(["one", "two"]) {
            let snapshot = images.prepare(name, file).await.unwrap();
            assert!(read(&snapshot, file).is_some() && read(&snapshot, "shared").is_some());
            images.remove_snapshot(file).await.unwrap();
            images.remove(name).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overlayfs_shows_what_the_layers_say() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("left out: only root can mount overlayfs");
        return;
    }
    let mut content = Content::default();
    let mut layers = vec![layer(&[("a/gone", "1"), ("a/kept", "2"), ("b/old", "3"), ("n", "0")])];
    layers.push(layer(&[("a/.wh.gone", ""), ("b/.wh..wh..opq", ""), ("b/new", "4")]));
    // More layers than a page of mount options could name.
    layers.extend((1..120).map(|number| layer(&[("n", &number.to_string())])));
    content.add_image("v1", &layers);
    let stub = content.serve();
    let (images, _dir) = images(&stub).await;
    let name = format!("{}/tool:v1", stub.host());
    images.pull(&name, None).await.unwrap();
    let snapshot = images.prepare(&name, "a").await.unwrap();
    // Mounted nowhere: it is gone when its handle is.
    let root = lepton_runtime_images::overlay(&snapshot).unwrap();
    let read = |path: &str| {
        let flags = rustix::fs::OFlags::RDONLY;
        let file = rustix::fs::openat(&root, path, flags, rustix::fs::Mode::empty()).ok()?;
        std::io::read_to_string(std::fs::File::from(file)).ok()
    };
    assert_eq!(read("n").as_deref(), Some("119"));
    assert_eq!((read("a/gone"), read("a/kept").as_deref()), (None, Some("2")));
    assert_eq!((read("b/old"), read("b/new").as_deref()), (None, Some("4")));
    let flags = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE;
    rustix::fs::openat(&root, "b/mine", flags, rustix::fs::Mode::from(0o644)).unwrap();
    assert!(snapshot.upper.join("b/mine").exists());
}
