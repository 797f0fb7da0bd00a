//! Entrances for `examples/fuzz.rs`: bytes of anyone, and what must hold for them. Not a part of the interface.

use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use crate::config::{Config, Devices};
use crate::disk;
use crate::layer::{self, Rules};
use crate::manifest::{self, Document};
use crate::reference::Reference;

/// What is read as a reference is written as the same one.
pub fn reference(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let again: Reference = reference.to_string().parse().expect("what was written can be read");
        assert_eq!(again, reference);
    }
}

/// Documents are read or refused.
pub fn document(bytes: &[u8]) {
    for said in ["", manifest::OCI_INDEX, manifest::OCI_MANIFEST] {
        match manifest::parse(bytes, said, 10) {
            Ok(Document::Index(entries)) => drop(manifest::choose(&entries, &Config::new("/").platform)),
            Ok(Document::Manifest(manifest)) => assert!(manifest.layers.len() <= 10),
            Err(_) => {}
        }
    }
    if let Ok(configuration) = manifest::configuration(bytes, 2) {
        assert_eq!(manifest::chain_ids(&configuration.diff_ids).len(), 2);
    }
}

/// A layer on top of another one is unpacked or refused, and nothing appears outside of its folder.
pub fn layer(bytes: &[u8], lower: &Path, scratch: &Path) {
    let folder = scratch.join("layer");
    fs::create_dir(&folder).expect("the last one was removed");
    let open = |path: &Path| OwnedFd::from(fs::File::open(path).expect("it was made"));
    let rules = Rules { limits: Config::new("/").limits, devices: Devices::Create };
    // Without the thread that a layer has otherwise: handing bytes over is not what is looked at here.
    if let Ok(stream) = layer::decompressed(bytes, rules.limits.window) {
        drop(layer::apply(stream.take(1 << 20), open(&folder), vec![open(lower)], &rules));
    }
    let names = disk::list(scratch).expect("a folder");
    assert_eq!(names, ["layer"], "something was made outside of the layer");
    disk::remove_tree(&folder).expect("what was made can be removed");
}
