//! A document of the real plan and lock, read back as JSON.

use std::path::Path;

use serde_json::Value;

use super::*;
use crate::assemble;
use crate::build;
use crate::compile::crates::{self, Crate};
use crate::compile::modules::{self, Module, Modules};
use crate::digest::Digest;
use crate::lock::FILE_NAME;
use crate::machine_config::MachineConfig;
use crate::preload::PreloadedImage;
use crate::programs::{GO_OWNER, Programs};
use crate::spec::Catalog;
use crate::store::Store;

fn made(arch: Arch) -> (String, RootTree) {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (catalog, lock) = (Catalog::new(repo), Lock::load(&repo.join(FILE_NAME)).unwrap());
    let locked = build::plan(&catalog, &"minimal".parse().unwrap(), arch).unwrap().lock(&lock).unwrap();
    let brought = Programs::stand_ins(locked.plan()).added_to(assemble::Inputs::default());
    let mut tree = assemble::root_tree(&locked, &MachineConfig::NONE, repo, &brought).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let output = |name: &str, files: &[(&str, &[u8])]| {
        let scratch = store.scratch(name).unwrap();
        for (file, bytes) in files {
            fs::write(scratch.path().join(file), bytes).unwrap();
        }
        store.add_output(scratch, Digest::of(name.as_bytes())).unwrap()
    };
    let krate = |name: &str, linked: bool| Crate {
        name: name.to_owned(),
        version: "1.0.0+x".to_owned(),
        license: Some("MIT OR Apache-2.0".to_owned()),
        sha256: linked.then(|| Digest::of(name.as_bytes())),
        features: vec!["std".to_owned()],
        linked,
    };
    let crates = serde_json::to_vec(&[krate("linked", true), krate("macro", false)]).unwrap();
    let kernel = output("kernel", &[("vmlinuz", b"kernel"), (kernel::RELEASE, b"6.12.94\n")]);
    let init = output("init", &[("init", b"init"), (&crates::list_of("init"), &crates)]);
    let module = |path: &str| Module {
        path: path.to_owned(),
        version: "v1.2.3".to_owned(),
        sum: "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=".to_owned(),
    };
    let modules = Modules { main: module("example.org/main"), others: vec![module("example.org/other")] };
    let modules = serde_json::to_vec(&modules).unwrap();
    let plugin = output("plugin", &[("plugin", b"plugin"), (&modules::list_of("plugin"), &modules)]);
    let package = "plugins".parse().unwrap();
    tree.add(
        "/usr/lib/plugin".parse().unwrap(),
        Node {
            mode: 0o755,
            kind: NodeKind::File(Content::from(b"plugin".to_vec())),
            owner: format!("{GO_OWNER}{package}"),
        },
    )
    .unwrap();
    let programs = [
        Program { package: None, language: Language::Rust, binary: "init", output: &init },
        Program { package: Some(&package), language: Language::Go, binary: "plugin", output: &plugin },
    ];
    let preloaded = PreloadedImage {
        name: "localhost/shell:1".to_owned(),
        digest: Digest::of(b"manifest"),
        debian: vec!["busybox-static".to_owned()],
        is_made: true,
    };
    let inputs = Inputs {
        locked: &locked,
        lock: &lock,
        tree: &tree,
        kernel: &kernel,
        programs: &programs,
        preloaded: &[preloaded],
    };
    let text = document(&inputs).unwrap();
    assert_eq!(text, document(&inputs).unwrap(), "the same inputs give the same bytes");
    add_to(&mut tree, &text).unwrap();
    (text, tree)
}

fn items<'a>(document: &'a Value, list: &str) -> &'a [Value] {
    document[list].as_array().unwrap()
}

/// Every file of the root but the document itself lies in exactly one package, with the root's digest.
#[test]
fn every_file_has_one_owner() {
    let (text, tree) = made(Arch::X86_64);
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut count = 0;
    for (path, node) in tree.nodes() {
        let NodeKind::File(content) = &node.kind else { continue };
        let name = format!("./{}", path.relative());
        let found: Vec<&Value> =
            items(&document, "files").iter().filter(|file| file["fileName"] == *name).collect();
        if format!("/{}", path.relative()) == PATH {
            assert_eq!(found.len(), 0, "a document cannot hold its own digest");
            continue;
        }
        let [file] = found[..] else { panic!("{name} is listed {} times", found.len()) };
        let (digest, _) = Digest::of_reader(content.reader()).unwrap();
        assert_eq!(file["checksums"][1]["checksumValue"], digest.to_string(), "{name}");
        let owners = items(&document, "relationships").iter().filter(|relation| {
            relation["relationshipType"] == "CONTAINS" && relation["relatedSpdxElement"] == file["SPDXID"]
        });
        assert_eq!(owners.count(), 1, "{name}");
        count += 1;
    }
    assert_eq!(count, items(&document, "files").len());
    assert!(count > 3);
}

/// Each name in a relationship is an element; what ran in the build only is none.
#[test]
fn relationships_name_elements() {
    for arch in Arch::ALL {
        let (text, _) = made(arch);
        let document: Value = serde_json::from_str(&text).unwrap();
        let elements = items(&document, "packages").iter().chain(items(&document, "files"));
        let mut ids: Vec<&Value> = elements.map(|element| &element["SPDXID"]).collect();
        ids.push(&document["SPDXID"]);
        for relation in items(&document, "relationships") {
            for end in ["spdxElementId", "relatedSpdxElement"] {
                assert!(ids.contains(&&relation[end]), "{relation}");
            }
        }
        assert!(ids.iter().any(|id| **id == "SPDXRef-Crate-linked-1.0.0-x"), "{ids:?}");
        assert!(!ids.iter().any(|id| id.as_str().unwrap().contains("macro")), "{ids:?}");
        let plugins =
            items(&document, "packages").iter().find(|package| package["SPDXID"] == "SPDXRef-Files-plugins");
        let plugins = plugins.unwrap();
        assert_eq!(
            (&plugins["versionInfo"], &plugins["licenseDeclared"]),
            (&"v1.2.3".into(), &"NOASSERTION".into())
        );
        for part in
            ["Go-example.org-main-v1.2.3", "Go-example.org-other-v1.2.3", "Debian-golang-1.26-src-all"]
        {
            let linked = items(&document, "relationships").iter().any(|relation| {
                relation["spdxElementId"] == "SPDXRef-Files-plugins"
                    && relation["relationshipType"] == "STATIC_LINK"
                    && relation["relatedSpdxElement"] == format!("SPDXRef-{part}")
            });
            assert!(linked, "{part}");
        }
        assert!(text.contains("pkg:golang/example.org/other@v1.2.3"));
        assert_eq!(text.contains("isolinux"), arch == Arch::X86_64);
        assert!(text.contains(&format!("systemd-boot-efi-{}", arch.debian())));
    }
}
