//! Makes an OCI image of one layer out of packages: the same files and date give the same bytes.

use std::io;

use serde_json::{Value, json};

use super::oci::{CONFIG, Descriptor, LAYER, MANIFEST, Manifest, Platform};
use super::{Blobs, add};
use crate::arch::Arch;
use crate::date;
use crate::pack::erofs;
use crate::tree::RootTree;

/// Where a container of such an image looks for programs.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a container runs, and as whom, unless it is told.
#[derive(Clone, Debug, Default)]
pub(super) struct ImageConfig {
    /// The program and its first arguments, which a pod's `args` leave.
    pub(super) entrypoint: Vec<String>,
    /// The arguments, or the program where there is no entry point.
    pub(super) command: Vec<String>,
    /// Number or name of the user; root when it is empty.
    pub(super) user: String,
}

impl ImageConfig {
    fn to_json(&self) -> Value {
        let mut config = json!({ "Env": [PATH], "Cmd": self.command });
        if !self.entrypoint.is_empty() {
            config["Entrypoint"] = json!(self.entrypoint);
        }
        if !self.user.is_empty() {
            config["User"] = json!(self.user);
        }
        config
    }
}

/// Adds the blobs of an image; gives its manifest.
pub(super) fn write(
    tree: &RootTree,
    config: &ImageConfig,
    arch: Arch,
    date: u64,
    blobs: &mut Blobs,
) -> io::Result<Descriptor> {
    let mut layer = Vec::new();
    erofs::write_tar(tree, date, &mut layer)?;
    let layer = add(LAYER, layer, blobs);
    let created = date::format_time(date);
    let config = json!({
        "created": created,
        "architecture": arch.golang(),
        "os": "linux",
        "config": config.to_json(),
        // A layer that is not compressed has one digest for both.
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
        "history": [{ "created": created, "created_by": "lepton-builder" }],
    });
    let config = add(CONFIG, config.to_string().into_bytes(), blobs);
    let manifest =
        Manifest { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers: vec![layer] };
    let text = serde_json::to_vec(&manifest).expect("a manifest is made of text and numbers");
    let mut entry = add(MANIFEST, text, blobs);
    entry.platform = Some(Platform::linux(arch.golang()));
    Ok(entry)
}
