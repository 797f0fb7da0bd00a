//! What callers learn about images, snapshots and the space they take: plain values without behaviour.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::digest::Digest;

/// Who asks a registry.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// User of basic authentication.
    pub username: String,
    /// Its password.
    pub password: String,
    /// An OAuth2 refresh token, exchanged at the registry's token service.
    pub identity_token: String,
    /// A bearer token that is sent as it is.
    pub registry_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// An image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRecord {
    /// Its ID: the digest of its configuration.
    pub id: Digest,
    /// Digests of the manifests that it came with.
    pub manifests: Vec<Digest>,
    /// References with a tag, `docker.io/library/busybox:latest`, sorted.
    pub repo_tags: Vec<String>,
    /// References with a digest, `docker.io/library/busybox@sha256:…`, sorted.
    pub repo_digests: Vec<String>,
    /// Bytes of its manifest, configuration and compressed layers.
    pub size: u64,
    /// Whether garbage collectors of Kubernetes must leave it.
    pub pinned: bool,
    /// Where it came from.
    pub source: Source,
    /// When it was pulled or imported, in seconds since 1970.
    pub created_at: u64,
    /// When it was last pulled or prepared, in seconds since 1970.
    pub last_used: u64,
    /// Annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
    /// What its containers start with.
    pub config: ImageConfig,
    /// Digests of its unpacked layers, lowest first.
    pub diff_ids: Vec<Digest>,
}

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A registry.
    Registry,
    /// An OCI layout or a docker archive.
    Import,
    /// The read-only contents of the operating system.
    Preloaded,
}

/// The configuration of an image, as far as a runtime needs it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageConfig {
    /// `amd64`, `arm64`.
    pub architecture: String,
    /// `USER[:GROUP]`, names or numbers; empty for 0:0.
    pub user: String,
    /// `NAME=VALUE`.
    pub env: Vec<String>,
    /// The first words of the command.
    pub entrypoint: Vec<String>,
    /// The words after it, unless there are others.
    pub cmd: Vec<String>,
    /// Where the command starts; empty for `/`.
    pub working_dir: String,
    /// A signal's name or number; empty for SIGTERM.
    pub stop_signal: String,
    /// Paths that are volumes.
    pub volumes: Vec<String>,
    /// `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// What a pull gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image.
    pub id: Digest,
    /// `REPOSITORY@DIGEST` of the manifest or index that the reference named.
    pub repo_digest: String,
    /// Bytes that were downloaded.
    pub downloaded: u64,
}

/// What an import gave: the images' IDs and references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The image.
    pub id: Digest,
    /// Its references, none when the archive names it by nothing but its digest.
    pub references: Vec<String>,
}

/// Folders of a container's root file system, to be mounted by overlayfs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The name that it was prepared under.
    pub key: String,
    /// Its image.
    pub image: Digest,
    /// Read-only folders, the uppermost first, as overlayfs wants them. Never empty.
    pub lower: Vec<PathBuf>,
    /// The folder that takes changes.
    pub upper: PathBuf,
    /// The empty folder that overlayfs works in.
    pub work: PathBuf,
}

/// What a snapshot takes beyond its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// Allocated bytes.
    pub bytes: u64,
    /// Files, folders and links.
    pub inodes: u64,
}

/// What all images take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsUsage {
    /// The folder of the contents; CRI's `mountpoint`.
    pub root: PathBuf,
    /// Blobs and unpacked layers.
    pub images: Usage,
    /// Changes of containers.
    pub snapshots: Usage,
}

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Blobs, partial downloads among them.
    pub blobs: usize,
    /// Unpacked layers.
    pub layers: usize,
}
