//! `docker save`: `manifest.json` lists configurations, tags and layers by the names of files in the archive. A manifest as a
//! registry would have it is made of that, always the same for the same image.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::archive::Contents;
use super::{Found, ImportError};
use crate::digest::{Digest, shortened};
use crate::error::Error;
use crate::manifest::{self, Descriptor, Document, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::reference::Reference;
use crate::state::{Image, name_of};
use crate::store::{Lease, Store};

const LIST: &str = "manifest.json";
/// Links from one layer to another in old archives are one step long.
const MOST_LINKS: usize = 8;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// The images of an archive whose contents are in the store.
pub(super) fn images(
    store: &Store,
    list: &[u8],
    contents: &Contents,
    lease: &mut Lease,
) -> Result<Vec<Found>, Error> {
    let listed: Vec<Listed> = serde_json::from_slice(list)
        .map_err(|error| ImportError::List { file: LIST, why: error.to_string() })?;
    listed.into_iter().map(|listed| image(store, listed, contents, lease)).collect()
}

fn image(store: &Store, listed: Listed, contents: &Contents, lease: &mut Lease) -> Result<Found, Error> {
    let limits = &store.config.limits;
    let config = configuration(store, &listed.config, contents)?;
    let id = Digest::of(&config);
    lease.hold(id);
    store.blobs.store(id, &config)?;
    let described = |media_type: &str, digest, size| Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
        platform: None,
        annotations: BTreeMap::new(),
    };
    let mut layers = Vec::new();
    for name in listed.layers.unwrap_or_default() {
        let (digest, size) = *find(&name, contents, &contents.blobs)?;
        layers.push(described(OCI_LAYER, digest, size));
    }
    let written = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": described(OCI_CONFIG, id, config.len() as u64),
        "layers": layers,
    });
    let bytes = written.to_string().into_bytes();
    let manifest_digest = Digest::of(&bytes);
    lease.hold(manifest_digest);
    store.blobs.store(manifest_digest, &bytes)?;
    let Document::Manifest(parsed) = manifest::parse(&bytes, OCI_MANIFEST, limits.layers)? else {
        return Err(ImportError::List { file: LIST, why: "it lists no image".into() }.into());
    };
    let configuration = manifest::configuration(&config, parsed.layers.len())?;
    let mut names = Vec::new();
    for tag in listed.repo_tags.unwrap_or_default() {
        names.push(name_of(&tag.parse::<Reference>()?));
    }
    let image = Image::new(parsed, configuration, bytes.len() as u64);
    Ok(Found { image, target: manifest_digest, manifest: manifest_digest, names })
}

/// The configuration, which newer archives have among the blobs.
fn configuration(store: &Store, name: &str, contents: &Contents) -> Result<Vec<u8>, Error> {
    if let Ok(bytes) = find(name, contents, &contents.documents) {
        return Ok(bytes.clone());
    }
    let (digest, size) = *find(name, contents, &contents.blobs)?;
    Ok(store.blobs.read(digest, size, store.config.limits.manifest)?)
}

/// What a name, or a link of that name, stands for.
fn find<'a, T>(
    name: &str,
    contents: &Contents,
    among: &'a BTreeMap<String, T>,
) -> Result<&'a T, ImportError> {
    let mut wanted = name.trim_start_matches("./").to_owned();
    for _ in 0..MOST_LINKS {
        if let Some(found) = among.get(&wanted) {
            return Ok(found);
        }
        match contents.links.get(&wanted) {
            Some(target) => wanted.clone_from(target),
            None => break,
        }
    }
    Err(ImportError::Missing { name: shortened(name) })
}
