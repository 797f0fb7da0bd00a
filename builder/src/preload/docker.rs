//! Takes images out of a docker archive (`docker save`): `manifest.json` lists configurations, tags and layers by the names
//! of files. A manifest as a registry would have it is made of that, always the same for the same image.

use lepton_formats::Content;
use serde::Deserialize;

use super::files::Files;
use super::oci::{CONFIG, Descriptor, LAYER, MANIFEST, Manifest, NAME, Platform};
use super::{Blobs, PreloadError, add};
use crate::arch::Arch;
use crate::digest::Digest;

/// The file that names images.
pub(super) const LIST_FILE: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// What is read of a configuration (config.md).
#[derive(Deserialize)]
struct Configuration {
    architecture: String,
    os: String,
}

/// Images of `arch`, one for each of their tags; their blobs are added to `blobs`.
pub(super) fn read(
    files: &Files<'_>,
    arch: Arch,
    blobs: &mut Blobs,
) -> Result<Vec<Descriptor>, PreloadError> {
    let list: Vec<Listed> = files.document(files.named(LIST_FILE)?, LIST_FILE)?;
    let mut found = Vec::new();
    for listed in &list {
        let content = files.named(&listed.config)?;
        let configuration: Configuration = files.document(content, &listed.config)?;
        if (configuration.os.as_str(), configuration.architecture.as_str()) != ("linux", arch.golang()) {
            continue;
        }
        let config = blob(files, CONFIG, content, blobs)?;
        let mut layers = Vec::new();
        for layer in listed.layers.iter().flatten() {
            layers.push(blob(files, LAYER, files.named(layer)?, blobs)?);
        }
        let manifest = Manifest { schema_version: 2, media_type: MANIFEST.to_owned(), config, layers };
        let text = serde_json::to_vec(&manifest).expect("a manifest is made of text and numbers");
        let mut entry = add(MANIFEST, text, blobs);
        entry.platform = Some(Platform::linux(arch.golang()));
        let tags = listed.repo_tags.as_deref().unwrap_or_default();
        if tags.is_empty() {
            found.push(entry.clone());
        }
        for tag in tags {
            entry.annotations.insert(NAME.to_owned(), tag.clone());
            found.push(entry.clone());
        }
    }
    Ok(found)
}

fn blob(
    files: &Files<'_>,
    media_type: &str,
    content: &Content,
    blobs: &mut Blobs,
) -> Result<Descriptor, PreloadError> {
    let (digest, size) = Digest::of_reader(content.reader()).map_err(|source| files.unreadable(source))?;
    blobs.insert(digest, content.clone());
    Ok(Descriptor::new(media_type, digest, size))
}
