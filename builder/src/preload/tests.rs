//! Layouts as other tools write them, and images made of packages.

use std::fs;
use std::io::Read as _;

use serde_json::{Value, json};

use super::*;
use crate::arch::Arch;
use crate::plan::PlannedPackage;
use crate::spec::SourceSpec;

/// A layout under construction.
struct Written(tempfile::TempDir);

impl Written {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        fs::write(dir.path().join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
        Self(dir)
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.0.path().join(format!("blobs/sha256/{digest}")), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len() })
    }

    /// The manifest of an image with one layer.
    fn image(&self, layer: &[u8], arch: &str) -> Value {
        let manifest = json!({
            "schemaVersion": 2,
            "config": self.blob(format!("{{\"architecture\":\"{arch}\"}}").as_bytes(), oci::CONFIG),
            "layers": [self.blob(layer, oci::LAYER)],
        });
        let mut entry = self.blob(manifest.to_string().as_bytes(), oci::MANIFEST);
        entry["platform"] = json!({ "architecture": arch, "os": "linux" });
        entry
    }

    fn index(&self, entries: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": entries });
        fs::write(self.0.path().join("index.json"), index.to_string()).unwrap();
    }

    fn read(&self) -> Result<(Vec<Descriptor>, Blobs), String> {
        let mut blobs = Blobs::new();
        let found = read(self.0.path(), Arch::X86_64, &mut blobs);
        found.map(|found| (found, blobs)).map_err(|error| error.to_string())
    }
}

fn planned(name: Option<&str>) -> PlannedPreload {
    let name = name.map(str::to_owned);
    PlannedPreload { name, from: Some("x".to_owned()), packages: Vec::new(), command: Vec::new() }
}

#[test]
fn blobs_of_this_architecture_are_taken_once_from_folder_and_archive() {
    let written = Written::new();
    let (ours, theirs) = (written.image(b"layer", "amd64"), written.image(b"other layer", "arm64"));
    let list = json!({ "schemaVersion": 2, "manifests": [ours, theirs] });
    let list = written.blob(list.to_string().as_bytes(), INDEX);
    written.index(&[ours.clone(), theirs, list]);
    written.blob(b"nobody names it", oci::LAYER);
    let (found, blobs) = written.read().unwrap();
    // The image and the index that names it: index, manifest, configuration, layer.
    assert_eq!((found.len(), blobs.len()), (2, 4));
    let archive = written.0.path().join("layout.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
    for name in ["index.json", "blobs"] {
        let from = written.0.path().join(name);
        if from.is_dir() {
            tar.append_dir_all(format!("./{name}"), from).unwrap();
        } else {
            tar.append_path_with_name(from, format!("./{name}")).unwrap();
        }
    }
    tar.into_inner().unwrap();
    let mut again = Blobs::new();
    assert_eq!(read(&archive, Arch::X86_64, &mut again).unwrap(), found);
    assert_eq!(again.keys().collect::<Vec<_>>(), blobs.keys().collect::<Vec<_>>());
}

#[test]
fn wrong_layouts_are_refused() {
    let written = Written::new();
    assert!(written.read().unwrap_err().contains("neither the index.json of an OCI layout"));
    written.index(&[written.image(b"layer", "arm64")]);
    assert!(written.read().unwrap_err().ends_with("it has no image for linux/amd64"));
    let mut large = written.image(b"layer", "amd64");
    large["size"] = json!(1);
    written.index(&[large]);
    assert!(written.read().unwrap_err().contains(" of 1 bytes has the digest "));
    let image = written.image(b"layer", "amd64");
    written.index(std::slice::from_ref(&image));
    let layer = written.0.path().join(format!("blobs/sha256/{}", Digest::of(b"layer")));
    fs::write(&layer, "LAYER").unwrap();
    assert!(written.read().unwrap_err().contains(&format!("has the digest {}", Digest::of(b"LAYER"))));
    fs::remove_file(&layer).unwrap();
    assert!(
        written.read().unwrap_err().contains(&format!("it has no blobs/sha256/{}", Digest::of(b"layer")))
    );
    let mut strange = written.blob(b"x", "text/plain");
    written.index(&[strange.clone()]);
    assert!(written.read().unwrap_err().contains("which is no image"));
    strange["digest"] = json!("sha512:00");
    written.index(&[strange]);
    assert!(written.read().unwrap_err().contains("is no sha256 digest"));
}

#[test]
fn names_come_from_the_plan_or_the_layout() {
    let entry = |name: Option<&str>| {
        let mut entry = Descriptor::new(oci::MANIFEST, Digest::of(b"x"), 1);
        entry.annotations.extend(name.map(|name| (NAME.to_owned(), name.to_owned())));
        entry
    };
    let names = |plan: Option<&str>, found: Vec<Descriptor>| {
        let found = named(&planned(plan), Path::new("x"), found).map_err(|error| error.to_string())?;
        Ok::<_, String>(found.iter().map(|entry| entry.annotations[NAME].clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(Some("localhost/a:1"), vec![entry(Some("latest"))]).unwrap(), ["localhost/a:1"]);
    assert_eq!(names(None, vec![entry(Some("localhost/b:1"))]).unwrap(), ["localhost/b:1"]);
    assert!(names(None, vec![entry(Some("latest"))]).unwrap_err().contains("has no whole name"));
    assert!(names(None, vec![entry(None)]).unwrap_err().contains("has no whole name"));
    assert!(
        names(Some("localhost/a:1"), vec![entry(None), entry(None)]).unwrap_err().contains("several images")
    );
}

#[test]
fn an_image_of_packages_is_a_layout_of_three_blobs_that_reads_back() {
    let repo = tempfile::tempdir().unwrap();
    fs::create_dir_all(repo.path().join("packages/tools/files")).unwrap();
    fs::write(repo.path().join("packages/tools/files/tool"), "#!/bin/true\n").unwrap();
    let package: PlannedPackage = PlannedPackage {
        name: "tools".parse().unwrap(),
        source: SourceSpec::Files {},
        install: vec![
            toml::from_str("from = \"files/tool\"\nto = \"/usr/bin/tool\"\nmode = \"0755\"").unwrap(),
        ],
        links: BTreeMap::from([("/bin".to_owned(), "usr/bin".to_owned())]),
        folders: Vec::new(),
        services: Vec::new(),
    };
    let tree = assemble::container_tree(&[package], repo.path(), &assemble::Inputs::default()).unwrap();
    let mut blobs = Blobs::new();
    let config = ImageConfig {
        entrypoint: vec!["/bin/tool".to_owned()],
        command: vec!["wait".to_owned()],
        user: "1234".to_owned(),
    };
    let entry = image::write(&tree, &config, Arch::X86_64, 1_700_000_000, &mut blobs).unwrap();
    let entry = named(&planned(Some("localhost/tools:1")), Path::new("x"), vec![entry]).unwrap().remove(0);
    let files = files(vec![entry.clone()], blobs).unwrap();
    assert_eq!(files.len(), 5, "layout, index, manifest, configuration, layer");
    let dir = tempfile::tempdir().unwrap();
    for (path, node) in &files {
        let NodeKind::File(content) = &node.kind else { panic!("{path} is no file") };
        let mut bytes = Vec::new();
        content.reader().read_to_end(&mut bytes).unwrap();
        let to = dir.path().join(path.relative());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    let mut again = Blobs::new();
    let layout = dir.path().join(&FOLDER[1..]);
    assert_eq!(read(&layout, Arch::X86_64, &mut again).unwrap(), [entry]);
    let layer = again.values().find_map(|content| {
        let mut archive = tar::Archive::new(content.reader());
        let entries = archive.entries().ok()?;
        let paths = entries.map(|entry| Some(entry.ok()?.path().ok()?.to_string_lossy().into_owned()));
        paths.collect::<Option<Vec<String>>>().filter(|paths| paths.len() > 1)
    });
    let layer = layer.unwrap();
    assert!(layer.contains(&"bin".to_owned()) && layer.contains(&"usr/bin/tool".to_owned()), "{layer:?}");
    let documents = again.values().filter_map(|content| serde_json::from_slice(&content.to_vec().ok()?).ok());
    let config =
        documents.map(|document: Value| document["config"].clone()).find(|config| config["Cmd"].is_array());
    let config = config.unwrap();
    assert_eq!(
        (&config["Entrypoint"], &config["Cmd"], &config["User"]),
        (&json!(["/bin/tool"]), &json!(["wait"]), &json!("1234"))
    );
}

/// A docker archive with an old-style link from one layer to another.
#[test]
fn a_docker_archive_becomes_what_a_layout_of_it_would_be() {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("saved.tar");
    let mut tar = tar::Builder::new(fs::File::create(&archive).unwrap());
    let mut put = |name: &str, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    };
    put("config.json", &json!({ "architecture": "amd64", "os": "linux" }).to_string());
    put("foreign.json", &json!({ "architecture": "arm64", "os": "linux" }).to_string());
    put("a/layer.tar", "layer");
    let list = json!([
        { "Config": "config.json", "RepoTags": ["localhost/a:1", "localhost/a:2"],
          "Layers": ["a/layer.tar", "b/layer.tar"] },
        { "Config": "foreign.json", "RepoTags": ["localhost/a:arm"], "Layers": ["a/layer.tar"] },
    ]);
    put("manifest.json", &list.to_string());
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_size(0);
    tar.append_link(&mut link, "b/layer.tar", "../a/layer.tar").unwrap();
    tar.into_inner().unwrap();

    let mut blobs = Blobs::new();
    let found = read(&archive, Arch::X86_64, &mut blobs).unwrap();
    let names: Vec<&str> = found.iter().map(|entry| entry.annotations[NAME].as_str()).collect();
    assert_eq!((names, blobs.len()), (vec!["localhost/a:1", "localhost/a:2"], 3));
    let mut bytes = Vec::new();
    blobs[&found[0].sha256().unwrap()].reader().read_to_end(&mut bytes).unwrap();
    let manifest: oci::Manifest = serde_json::from_slice(&bytes).unwrap();
    let layer = Digest::of(b"layer");
    assert_eq!(
        manifest.layers.iter().map(Descriptor::sha256).collect::<Vec<_>>(),
        [Some(layer), Some(layer)]
    );
    // Two tags are two names, and one name does not fit both.
    assert!(named(&planned(Some("localhost/b:1")), &archive, found).is_err());
}
