//! Images that tests make, and a registry that has them.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use lepton_runtime_images::{Config, Digest, Endpoint, Images, Limits, RegistryConfig};
use serde_json::{Value, json};

use crate::stub::{Asked, Reply, Stub};

pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

/// Blobs by digest, manifests by tag or digest.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
    pub(crate) manifests: BTreeMap<String, (String, Vec<u8>)>,
}

/// A layer with some files, uncompressed. Owners are those of the process.
pub(crate) fn layer(files: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1000);
        header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
        header.set_gid(u64::from(rustix::process::getegid().as_raw()));
        writer.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    writer.into_inner().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

pub(crate) fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": kind, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

impl Content {
    pub(crate) fn add_blob(&mut self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs.insert(digest.to_string(), bytes.to_vec());
        digest
    }

    pub(crate) fn add_manifest(&mut self, tag: &str, kind: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.manifests.insert(tag.into(), (kind.into(), bytes.to_vec()));
        self.manifests.insert(digest.to_string(), (kind.into(), bytes.to_vec()));
        digest
    }

    /// An image of layers, gzip and zstd in turns. Gives its ID and its manifest.
    pub(crate) fn add_image(&mut self, tag: &str, layers: &[Vec<u8>]) -> (Digest, Vec<u8>) {
        self.add_image_for(tag, layers, architecture())
    }

    pub(crate) fn add_image_for(&mut self, tag: &str, layers: &[Vec<u8>], arch: &str) -> (Digest, Vec<u8>) {
        let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        let config = json!({"architecture": arch, "os": "linux", "config": {"Env": ["A=b"], "User": "7:8", "Cmd": ["/run"],
            "Labels": {"tag": tag}}, "rootfs": {"type": "layers", "diff_ids": diff_ids}});
        let config = config.to_string().into_bytes();
        let id = self.add_blob(&config);
        let mut described = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let (kind, stored) = match index % 2 {
                0 => (GZIP, gzip(layer)),
                _ => (ZSTD, zstd::encode_all(&layer[..], 3).unwrap()),
            };
            self.add_blob(&stored);
            described.push(descriptor(kind, &stored));
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config),
            "layers": described});
        let manifest = manifest.to_string().into_bytes();
        self.add_manifest(tag, MANIFEST, &manifest);
        (id, manifest)
    }

    /// Answers as a registry does. Repositories do not matter.
    pub(crate) fn answer(&self, asked: &Asked) -> Reply {
        let path = asked.path.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let missing = || {
            let text = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]});
            Reply::new(404).body(text.to_string())
        };
        if path.contains("/manifests/") {
            let Some((kind, bytes)) = self.manifests.get(name) else { return missing() };
            return Reply::new(200)
                .header("Content-Type", kind)
                .header("Docker-Content-Digest", &Digest::of(bytes).to_string())
                .body(bytes.clone());
        }
        let Some(bytes) = self.blobs.get(name) else { return missing() };
        let from = asked.header("range").strip_prefix("bytes=").and_then(|range| range.strip_suffix('-'));
        match from.map(|from| from.parse::<usize>().unwrap()) {
            Some(from) => Reply::new(206)
                .header("Content-Range", &format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len()))
                .body(&bytes[from..]),
            None => Reply::new(200).body(bytes.clone()),
        }
    }

    pub(crate) fn serve(self) -> Stub {
        Stub::start(move |asked| self.answer(asked))
    }
}

/// Settings with a registry of plain HTTP, and no patience.
pub(crate) fn config(root: &Path, stubs: &[&Stub]) -> Config {
    let registries = stubs.iter().map(|stub| RegistryConfig {
        host: stub.host(),
        endpoints: vec![Endpoint { url: stub.url(), ..Endpoint::default() }],
        only_endpoints: false,
    });
    let limits = Limits {
        pause: std::time::Duration::from_millis(5),
        partial: std::time::Duration::ZERO,
        ..Limits::default()
    };
    Config { registries: registries.collect(), durable: false, limits, ..Config::new(root) }
}

/// Images in a new folder.
pub(crate) async fn images(stub: &Stub) -> (Images, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(config(dir.path(), &[stub])).await.unwrap();
    (images, dir)
}

/// The content of a file of an unmounted snapshot: that of the uppermost layer that has it.
pub(crate) fn read(snapshot: &lepton_runtime_images::Snapshot, path: &str) -> Option<String> {
    snapshot.lower.iter().find_map(|folder| std::fs::read_to_string(folder.join(path)).ok())
}

/// The file names of a folder.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
