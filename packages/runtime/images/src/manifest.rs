//! Manifests, indexes and image configurations of OCI and Docker (schema 2): bytes in, checked values out. Pure.
//! Fields that nothing here needs are not looked at; what is looked at is refused when it is not exactly right.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::config::Platform;
use crate::digest::{Digest, Hasher, shortened};
use crate::record::ImageConfig;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// The uncompressed layer of OCI.
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Types that say nothing, as file servers give them.
const UNTYPED: [&str; 4] = ["", "application/json", "application/octet-stream", "text/plain"];
/// An index may name an index; deeper nesting has no use.
pub(crate) const DEEPEST_INDEX: usize = 3;

/// What is wrong with a manifest, index or configuration.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// No JSON of the right shape.
    #[error("the {what} is not what its type says")]
    Json {
        /// Which document.
        what: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// A content type that is not of an image.
    #[error("content type {0:?} is not that of an image's manifest or index (OCI, or Docker schema 2)")]
    ContentType(String),
    /// Docker's first schema.
    #[error(
        "the manifest is of Docker's schema 1, which is not supported: push the image again with a current tool"
    )]
    Schema1,
    /// The registry says one type, the document another.
    #[error("the registry says {said:?}, the document says {written:?}")]
    Contradiction {
        /// Content-Type.
        said: String,
        /// `mediaType`.
        written: String,
    },
    /// Fields of a manifest and of an index: readers would disagree.
    #[error("the document has both `manifests` and `layers` or `config`: it is ambiguous")]
    Ambiguous,
    /// An artifact that is no image.
    #[error("the configuration is of type {0:?}: it is an artifact, not an image")]
    NotAnImage(String),
    /// A layer of a type that cannot be unpacked.
    #[error("layer {digest} is of type {media_type:?}; tar, tar+gzip and tar+zstd are supported")]
    LayerType {
        /// Which.
        digest: Digest,
        /// Its type.
        media_type: String,
    },
    /// Too many layers.
    #[error("the image has {found} layers; the limit is {limit}")]
    Layers {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Nothing in the index fits.
    #[error("the index has no image for {wanted}; it has: {found}")]
    Platform {
        /// This host.
        wanted: String,
        /// What there is.
        found: String,
    },
    /// Indexes within indexes.
    #[error("indexes are nested more than {DEEPEST_INDEX} deep")]
    Nested,
    /// The configuration is for another operating system.
    #[error("the image is for the operating system {0:?}, not linux")]
    OperatingSystem(String),
    /// The configuration and the manifest do not belong together.
    #[error("the configuration has {diff_ids} diff IDs, the manifest {layers} layers")]
    DiffIds {
        /// Of the configuration.
        diff_ids: usize,
        /// Of the manifest.
        layers: usize,
    },
    /// A descriptor that is larger than what it describes can be.
    #[error("{digest} claims {size} bytes; the limit is {limit}")]
    TooLarge {
        /// Which.
        digest: Digest,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

/// A blob as a document names it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescribedPlatform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct DescribedPlatform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

/// A layer that can be unpacked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Layer {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) compression: Compression,
}

/// A manifest of an image.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Layer>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What a registry gives for a name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    manifests: Option<Vec<Descriptor>>,
    layers: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: BTreeMap<String, String>,
}

/// Null is as good as missing: Go's encoders write it.
fn or_default<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// Reads a manifest or index. `said` is its type according to whoever gave it.
pub(crate) fn parse(bytes: &[u8], said: &str, most_layers: usize) -> Result<Document, ManifestError> {
    let said = said.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if said.starts_with("application/vnd.docker.distribution.manifest.v1+") {
        return Err(ManifestError::Schema1);
    }
    let is_known = |kind: &str| [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].contains(&kind);
    if !UNTYPED.contains(&&*said) && !is_known(&said) {
        return Err(ManifestError::ContentType(shortened(&said)));
    }
    let raw: Raw =
        serde_json::from_slice(bytes).map_err(|source| ManifestError::Json { what: "manifest", source })?;
    if raw.schema_version == 1 {
        return Err(ManifestError::Schema1);
    }
    let written = raw.media_type;
    if !written.is_empty() && !is_known(&written) {
        return Err(ManifestError::ContentType(shortened(&written)));
    }
    if is_known(&said) && !written.is_empty() && said != written {
        return Err(ManifestError::Contradiction { said, written });
    }
    let kind = if is_known(&said) { said } else { written };
    let is_index = match kind.as_str() {
        OCI_INDEX | DOCKER_LIST => Some(true),
        OCI_MANIFEST | DOCKER_MANIFEST => Some(false),
        _ => None,
    };
    match (raw.manifests, raw.config, raw.layers) {
        (Some(manifests), None, None) if is_index != Some(false) => Ok(Document::Index(manifests)),
        (None, Some(config), layers) if is_index != Some(true) => {
            let layers = layers.unwrap_or_default();
            Ok(Document::Manifest(manifest(config, layers, raw.annotations, most_layers)?))
        }
        (Some(_), ..) if is_index != Some(false) => Err(ManifestError::Ambiguous),
        (Some(_), ..) => Err(ManifestError::Ambiguous),
        _ => {
            let source = serde::de::Error::custom(
                "neither the `manifests` of an index nor the `config` of a manifest",
            );
            Err(ManifestError::Json { what: "manifest", source })
        }
    }
}

fn manifest(
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
    most_layers: usize,
) -> Result<Manifest, ManifestError> {
    if ![OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) {
        return Err(ManifestError::NotAnImage(shortened(&config.media_type)));
    }
    if layers.len() > most_layers {
        return Err(ManifestError::Layers { found: layers.len(), limit: most_layers });
    }
    let layers = layers.into_iter().map(|layer| {
        let Descriptor { digest, size, media_type, .. } = layer;
        let compression = compression(&media_type)
            .ok_or_else(|| ManifestError::LayerType { digest, media_type: shortened(&media_type) })?;
        Ok(Layer { digest, size, compression })
    });
    Ok(Manifest { config, layers: layers.collect::<Result<_, _>>()?, annotations })
}

/// Layers that others may not distribute are of types of their own, which are not here: nobody but their vendor has them.
fn compression(media_type: &str) -> Option<Compression> {
    match media_type {
        OCI_LAYER | "application/vnd.docker.image.rootfs.diff.tar" => Some(Compression::None),
        "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Compression::Gzip),
        "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// The entry of an index for a host: the same architecture and variant, else the architecture without a variant.
pub(crate) fn choose<'a>(index: &'a [Descriptor], host: &Platform) -> Result<&'a Descriptor, ManifestError> {
    let fit = |entry: &Descriptor| {
        let Some(platform) = &entry.platform else { return (index.len() == 1).then_some(2) };
        if platform.os != "linux" || platform.architecture != host.architecture {
            return None;
        }
        match (platform.variant.as_deref().filter(|variant| !variant.is_empty()), host.variant.as_deref()) {
            (variant, wanted) if variant == wanted => Some(0),
            (None, _) => Some(1),
            // Every amd64 processor runs v1, every arm64 processor v8.
            (Some("v1"), None) if host.architecture == "amd64" => Some(1),
            (Some("v8"), None) if host.architecture == "arm64" => Some(1),
            _ => None,
        }
    };
    let fitting = index.iter().filter_map(|entry| Some((fit(entry)?, entry)));
    // The first of equals, as the index's author ordered them.
    let best = fitting.min_by_key(|(rank, _)| *rank);
    best.map(|(_, entry)| entry).ok_or_else(|| {
        let shown = index.iter().take(20).map(|entry| match &entry.platform {
            Some(platform) => shortened(&format!("{}/{}", platform.os, platform.architecture)),
            None => "an entry without platform".to_owned(),
        });
        let variant = host.variant.as_ref().map(|variant| format!("/{variant}")).unwrap_or_default();
        let wanted = format!("linux/{}{variant}", host.architecture);
        ManifestError::Platform { wanted, found: shown.collect::<Vec<_>>().join(", ") }
    })
}

/// An image configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Configuration {
    pub(crate) config: ImageConfig,
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfiguration {
    #[serde(default, deserialize_with = "or_default")]
    architecture: String,
    #[serde(default, deserialize_with = "or_default")]
    os: String,
    #[serde(default, deserialize_with = "or_default")]
    config: RawConfig,
    rootfs: RawRootfs,
}

#[derive(Deserialize)]
struct RawRootfs {
    #[serde(default, deserialize_with = "or_default")]
    diff_ids: Vec<Digest>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RawConfig {
    #[serde(deserialize_with = "or_default")]
    user: String,
    #[serde(deserialize_with = "or_default")]
    env: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    cmd: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    working_dir: String,
    #[serde(deserialize_with = "or_default")]
    stop_signal: String,
    #[serde(deserialize_with = "or_default")]
    volumes: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    exposed_ports: BTreeMap<String, serde::de::IgnoredAny>,
    #[serde(deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
}

/// Reads the configuration of a manifest with so many layers.
pub(crate) fn configuration(bytes: &[u8], layers: usize) -> Result<Configuration, ManifestError> {
    let raw: RawConfiguration = serde_json::from_slice(bytes)
        .map_err(|source| ManifestError::Json { what: "image configuration", source })?;
    if !matches!(raw.os.as_str(), "" | "linux") {
        return Err(ManifestError::OperatingSystem(shortened(&raw.os)));
    }
    let diff_ids = raw.rootfs.diff_ids;
    if diff_ids.len() != layers {
        return Err(ManifestError::DiffIds { diff_ids: diff_ids.len(), layers });
    }
    let raw_config = raw.config;
    let config = ImageConfig {
        architecture: raw.architecture,
        user: raw_config.user,
        env: raw_config.env,
        entrypoint: raw_config.entrypoint,
        cmd: raw_config.cmd,
        working_dir: raw_config.working_dir,
        stop_signal: raw_config.stop_signal,
        volumes: raw_config.volumes.into_keys().collect(),
        exposed_ports: raw_config.exposed_ports.into_keys().collect(),
        labels: raw_config.labels,
    };
    Ok(Configuration { config, diff_ids })
}

/// Chain IDs, lowest first: each names a layer together with all below it.
pub(crate) fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let id = match chain.last() {
            None => *diff_id,
            Some(parent) => {
                let mut hasher = Hasher::new();
                hasher.update(format!("{parent} {diff_id}").as_bytes());
                hasher.finish()
            }
        };
        chain.push(id);
    }
    chain
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
