//! Images that come as files.

use std::path::Path;

use lepton_runtime_images::{Digest, ErrorKind, Images, Source};
use serde_json::json;

use crate::content::{Content, INDEX, MANIFEST, architecture, config, descriptor, layer, read};

/// Writes an OCI layout with one image.
fn layout(folder: &Path, name: &str) -> Digest {
    let mut content = Content::default();
    let (id, manifest) = content.add_image("v1", &[layer(&[("a", "b")]), layer(&[("c", "d")])]);
    std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
    content.add_blob(&manifest);
    for (digest, bytes) in &content.blobs {
        std::fs::write(folder.join("blobs").join(digest.replace(':', "/")), bytes).unwrap();
    }
    let mut entry = descriptor(MANIFEST, &manifest);
    entry["platform"] = json!({"os": "linux", "architecture": architecture()});
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    let mut foreign = entry.clone();
    foreign["platform"]["architecture"] = "s390x".into();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [foreign, entry]}).to_string();
    std::fs::write(folder.join("index.json"), index).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    id
}

fn tar_of(folder: &Path, target: &Path) {
    let mut writer = tar::Builder::new(std::fs::File::create(target).unwrap());
    writer.append_dir_all(".", folder).unwrap();
    writer.finish().unwrap();
}

async fn open(root: &Path) -> Images {
    Images::open(config(root, &[])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("layout");
    let id = layout(&folder, "registry.example/tool:v1");
    tar_of(&folder, &dir.path().join("layout.tar"));
    let compressed = zstd::encode_all(&std::fs::read(dir.path().join("layout.tar")).unwrap()[..], 3).unwrap();
    std::fs::write(dir.path().join("layout.tar.zst"), compressed).unwrap();
    for (number, form) in ["layout", "layout.tar", "layout.tar.zst"].into_iter().enumerate() {
        let images = open(&dir.path().join(number.to_string())).await;
        let imported = images.import(&dir.path().join(form)).await.unwrap();
        assert_eq!(imported.len(), 1, "{form}");
        assert_eq!(imported[0].id, id);
        let record = images.get("registry.example/tool:v1").unwrap();
        assert_eq!((record.source, record.repo_digests.len()), (Source::Import, 1));
        let snapshot = images.prepare("registry.example/tool:v1", "a").await.unwrap();
        assert_eq!(
            (read(&snapshot, "a").as_deref(), read(&snapshot, "c").as_deref()),
            (Some("b"), Some("d"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn layouts_without_a_complete_name() {
    let dir = tempfile::tempdir().unwrap();
    let id = layout(&dir.path().join("layout"), "v1");
    let images = open(&dir.path().join("root")).await;
    assert_eq!(images.import(&dir.path().join("layout")).await.unwrap()[0].references, Vec::<String>::new());
    let record = images.get(&id.hex()).unwrap();
    assert!(record.repo_tags.is_empty() && record.repo_digests.is_empty());
    drop(images);
    let images = open(&dir.path().join("root")).await;
    images.remove(&id.to_string()).await.unwrap();
    assert!(images.list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_archives() {
    let dir = tempfile::tempdir().unwrap();
    let layers = [layer(&[("a", "b")]), layer(&[("c", "d")])];
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let settings = json!({"architecture": architecture(), "os": "linux", "config": {"User": "web"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids}});
    let settings = settings.to_string().into_bytes();
    let id = Digest::of(&settings);
    let list = json!([{"Config": format!("{}.json", id.hex()), "RepoTags": ["tool:v1", "x.example/tool:v2"],
        "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    let mut writer = tar::Builder::new(Vec::new());
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        writer.append_data(&mut header, name, bytes).unwrap();
    };
    add(&format!("{}.json", id.hex()), &settings);
    add("one/layer.tar", &layers[0]);
    add("real/layer.tar", &layers[1]);
    add("manifest.json", list.to_string().as_bytes());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    writer.append_link(&mut header, "two/layer.tar", "../real/layer.tar").unwrap();
    std::fs::write(dir.path().join("saved.tar"), writer.into_inner().unwrap()).unwrap();
    let images = open(&dir.path().join("root")).await;
    let imported = images.import(&dir.path().join("saved.tar")).await.unwrap();
    assert_eq!((imported[0].id, imported[0].references.len()), (id, 2));
    let record = images.get("tool:v1").unwrap();
    assert_eq!(record.repo_tags, ["docker.io/library/tool:v1", "x.example/tool:v2"]);
    assert_eq!(record.config.user, "web");
    let snapshot = images.prepare("tool:v1", "a").await.unwrap();
    assert_eq!((read(&snapshot, "a").as_deref(), read(&snapshot, "c").as_deref()), (Some("b"), Some("d")));
}

#[tokio::test(flavor = "multi_thread")]
async fn preloaded_images_are_there_and_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("layout");
    let id = layout(&folder, "registry.example/tool:v1");
    let root = dir.path().join("root");
    let settings = || {
        let mut settings = config(&root, &[]);
        settings.preloaded = vec![folder.clone(), dir.path().join("missing")];
        settings
    };
    let images = Images::open(settings()).await.unwrap();
    let record = images.get("registry.example/tool:v1").unwrap();
    assert_eq!((record.id, record.pinned, record.source), (id, true, Source::Preloaded));
    // Nothing is copied, and nothing unpacked before it is wanted.
    assert!(crate::content::names(&root.join("blobs/sha256")).is_empty());
    assert!(crate::content::names(&root.join("layers")).is_empty());
    let snapshot = images.prepare("registry.example/tool:v1", "a").await.unwrap();
    assert_eq!(read(&snapshot, "c").as_deref(), Some("d"));
    images.remove("registry.example/tool:v1").await.unwrap();
    drop(images);
    let images = Images::open(settings()).await.unwrap();
    assert_eq!(images.list().len(), 1);
    // Damage costs its image alone.
    drop(images);
    std::fs::write(folder.join("index.json"), "{").unwrap();
    assert!(Images::open(settings()).await.unwrap().list().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_archives() {
    let dir = tempfile::tempdir().unwrap();
    let images = open(&dir.path().join("root")).await;
    let path = dir.path().join("archive");
    assert_eq!(images.import(&path).await.unwrap_err().kind(), ErrorKind::NotFound);
    std::fs::write(&path, "no archive, but long enough ".repeat(100)).unwrap();
    assert_eq!(images.import(&path).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    std::fs::write(&path, layer(&[("manifest.json", "{}")])).unwrap();
    assert!(images.import(&path).await.unwrap_err().to_string().contains("manifest.json of the archive"));
    let missing = r#"[{"Config":"../../etc/passwd","Layers":[]}]"#;
    std::fs::write(&path, layer(&[("manifest.json", missing)])).unwrap();
    assert!(images.import(&path).await.unwrap_err().to_string().contains("which it does not have"));
    std::fs::write(&path, layer(&[("a", "b")])).unwrap();
    assert!(images.import(&path).await.unwrap_err().to_string().contains("has neither"));
    let wrong = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    std::fs::write(&path, layer(&[(&wrong, "y")])).unwrap();
    assert_eq!(images.import(&path).await.unwrap_err().kind(), ErrorKind::DataLoss);
    let folder = dir.path().join("layout");
    layout(&folder, "not a reference!/x");
    assert_eq!(images.import(&folder).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    // What a failed import left is of no use to the next one.
    images.collect().await.unwrap();
    let blobs = folder.join("blobs/sha256");
    layout(&folder, "x.example/a:b");
    for blob in crate::content::names(&blobs) {
        std::fs::write(blobs.join(blob), "changed").unwrap();
    }
    let error = images.import(&folder).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::ResourceExhausted), "{error}");
    assert!(images.list().is_empty());
    images.collect().await.unwrap();
    assert!(crate::content::names(&dir.path().join("root/blobs/sha256")).is_empty());
}
