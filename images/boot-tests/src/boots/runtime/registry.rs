//! A registry of container images as files of a web server: one image, which any architecture takes, and which has no
//! program.

use std::fs;
use std::io;
use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::digest::Digest;
use serde_json::json;

/// Where the file of the image's only layer is in it.
const FILE: &str = "/hello";
/// What the file says.
const TEXT: &str = "from the mirror";

/// Writes the image below `dir`, as `NAME` with the tags 1 and 2.
pub(super) fn write(dir: &Path, name: &str, arch: Arch) -> io::Result<()> {
    let mut layer = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(TEXT.len() as u64);
    layer.append_data(&mut header, FILE.trim_start_matches('/'), TEXT.as_bytes())?;
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": arch.debian(),
        "os": "linux",
        "config": {"Env": ["FROM_IMAGE=1"]},
        "rootfs": {"type": "layers", "diff_ids": [named(&layer)]},
    });
    let config = config.to_string().into_bytes();
    let descriptor = |kind: &str, bytes: &[u8]| {
        json!({
            "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": named(bytes), "size": bytes.len(),
        })
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", &config),
        "layers": [descriptor("layer.v1.tar", &layer)],
    });
    let manifest = manifest.to_string().into_bytes();
    let repository = dir.join("v2").join(name);
    let (blobs, manifests) = (repository.join("blobs"), repository.join("manifests"));
    fs::create_dir_all(&blobs)?;
    fs::create_dir_all(&manifests)?;
    fs::write(blobs.join(named(&config)), &config)?;
    fs::write(blobs.join(named(&layer)), &layer)?;
    for tag in ["1".to_owned(), "2".to_owned(), named(&manifest)] {
        fs::write(manifests.join(tag), &manifest)?;
    }
    Ok(())
}

fn named(bytes: &[u8]) -> String {
    format!("sha256:{}", Digest::of(bytes))
}
