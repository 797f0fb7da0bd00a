//! Container images that an OS image brings along: one OCI image layout in its root, in which equal blobs lie once.
//!
//! A host starts pods of them without a registry. Which images they are stands in the plan; here their blobs are read
//! or made, and compared with the digests that name them.

pub mod containers;
mod docker;
mod files;
mod image;
mod layout;
mod oci;
#[cfg(test)]
mod tests;

pub use containers::{Container, write_layout};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use lepton_formats::Content;

use crate::arch::Arch;
use crate::assemble::{self, AssembleError};
use crate::digest::Digest;
use crate::name::{BadName, RootPath};
use crate::plan::{LockedPlan, PlannedPreload};
use crate::source_debian::{self, DebianError};
use crate::spec::SpecError;
use crate::tools::Toolbox;
use crate::tree::{Node, NodeKind, RootTree};
use files::Files;
use image::ImageConfig;
use oci::{Descriptor, INDEX, Index, NAME};

/// Where the layout lies in the root.
const FOLDER: &str = "/usr/share/lepton/images";
/// Who owns its files.
pub(crate) const OWNER: &str = "the preloaded images";

/// Contents by digest.
type Blobs = BTreeMap<Digest, Content>;

/// The layout and what is in it.
#[derive(Clone, Debug, Default)]
pub struct Preloaded {
    /// Its images.
    pub images: Vec<PreloadedImage>,
    /// Its files.
    pub(crate) files: BTreeMap<RootPath, Node>,
}

/// One image of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreloadedImage {
    /// Its whole name.
    pub name: String,
    /// Digest of its manifest or index.
    pub digest: Digest,
    /// Debian packages that its files were picked from, when the builder made it.
    pub debian: Vec<String>,
    /// Whether the builder made it.
    pub is_made: bool,
}

/// Images cannot be preloaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PreloadError {
    /// A layout or archive cannot be read.
    #[error("cannot read the container image {path}")]
    Read {
        /// Folder or archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A layout or archive is wrong.
    #[error("the container image {path} cannot be preloaded: {message}")]
    Form {
        /// Folder or archive.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// A layout cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The packages of an image are wrong.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Spec(Vec<SpecError>),
    /// Two images have one name.
    #[error("two images are preloaded as {name:?}")]
    Twice {
        /// The name.
        name: String,
    },
    /// Files of a Debian package cannot be taken.
    #[error(transparent)]
    Debian(#[from] DebianError),
    /// The files of an image do not fit together.
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    /// A path of the layout is wrong.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// The images of a plan; `repo` holds layouts and the packages' own files.
pub fn images(locked: &LockedPlan, repo: &Path, toolbox: &Toolbox<'_>) -> Result<Preloaded, PreloadError> {
    let plan = locked.plan();
    let (mut blobs, mut entries, mut images) = (Blobs::new(), Vec::new(), Vec::new());
    for preload in &plan.preload {
        let (found, debian) = match &preload.from {
            Some(from) => {
                let path = repo.join(from);
                (named(preload, &path, read(&path, plan.arch, &mut blobs)?)?, BTreeSet::new())
            }
            None => {
                let inputs = source_debian::inputs(&preload.packages, plan.arch, toolbox)?;
                let tree = assemble::container_tree(&preload.packages, repo, &inputs)?;
                let config = ImageConfig { command: preload.command.clone(), ..ImageConfig::default() };
                let made = image::write(&tree, &config, plan.arch, locked.date(), &mut blobs);
                let entry = made.map_err(|source| PreloadError::Read { path: repo.to_owned(), source })?;
                (named(preload, repo, vec![entry])?, debian_packages(&tree))
            }
        };
        for entry in found {
            let name = entry.annotations.get(NAME).cloned().unwrap_or_default();
            if images.iter().any(|image: &PreloadedImage| image.name == name) {
                return Err(PreloadError::Twice { name });
            }
            let digest = entry.sha256().expect("its blob was found by it");
            images.push(PreloadedImage {
                name,
                digest,
                debian: debian.iter().cloned().collect(),
                is_made: preload.from.is_none(),
            });
            entries.push(entry);
        }
    }
    let files = if entries.is_empty() { BTreeMap::new() } else { files(entries, blobs)? };
    Ok(Preloaded { images, files })
}

/// Images of `arch` in the files at `path`.
fn read(path: &Path, arch: Arch, blobs: &mut Blobs) -> Result<Vec<Descriptor>, PreloadError> {
    let files = Files::open(path)?;
    let found = if files.find(layout::INDEX_FILE).is_some() {
        layout::read(&files, arch, blobs)?
    } else if files.find(docker::LIST_FILE).is_some() {
        docker::read(&files, arch, blobs)?
    } else {
        let (index, list) = (layout::INDEX_FILE, docker::LIST_FILE);
        let message =
            format!("it has neither the {index} of an OCI layout nor the {list} of a docker archive");
        return Err(files.wrong(message));
    };
    if found.is_empty() {
        return Err(files.wrong(format!("it has no image for linux/{}", arch.golang())));
    }
    Ok(found)
}

/// Adds a blob that the builder made.
fn add(media_type: &str, bytes: Vec<u8>, blobs: &mut Blobs) -> Descriptor {
    let (digest, size) = (Digest::of(&bytes), bytes.len() as u64);
    blobs.insert(digest, Content::from(bytes));
    Descriptor::new(media_type, digest, size)
}

/// Gives the only image the name of the plan, or wants that each has one.
fn named(
    preload: &PlannedPreload,
    path: &Path,
    mut found: Vec<Descriptor>,
) -> Result<Vec<Descriptor>, PreloadError> {
    let wrong = |message: &str| PreloadError::Form { path: path.to_owned(), message: message.to_owned() };
    if let Some(name) = &preload.name {
        let [entry] = &mut found[..] else {
            return Err(wrong("it has several images, which one name does not fit"));
        };
        entry.annotations.insert(NAME.to_owned(), name.clone());
    }
    // A tag alone would be a name that no pod asks for.
    if found.iter().any(|entry| entry.annotations.get(NAME).is_none_or(|name| !name.contains('/'))) {
        return Err(wrong("an image in it has no whole name; give it one with name = \"REGISTRY/PATH:TAG\""));
    }
    Ok(found)
}

fn debian_packages(tree: &RootTree) -> BTreeSet<String> {
    let owners = tree.nodes().map(|(_, node)| node.owner.as_str());
    owners.filter_map(|owner| owner.strip_prefix(source_debian::OWNER)).map(str::to_owned).collect()
}

/// The files of the layout (image-layout.md).
fn files(entries: Vec<Descriptor>, blobs: Blobs) -> Result<BTreeMap<RootPath, Node>, PreloadError> {
    let index = Index { schema_version: 2, media_type: INDEX.to_owned(), manifests: entries };
    let index = serde_json::to_vec_pretty(&index).expect("an index is made of text and numbers");
    let mut contents = vec![
        ("oci-layout".to_owned(), Content::from(b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec())),
        ("index.json".to_owned(), Content::from(index)),
    ];
    contents.extend(blobs.into_iter().map(|(digest, content)| (format!("blobs/sha256/{digest}"), content)));
    let node = |(name, content): (String, Content)| {
        let node = Node { mode: 0o644, kind: NodeKind::File(content), owner: OWNER.to_owned() };
        Ok((format!("{FOLDER}/{name}").parse()?, node))
    };
    contents.into_iter().map(node).collect()
}
