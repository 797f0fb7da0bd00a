//! Container images that are no part of an image of ours: of packages, and of programs that were compiled for them,
//! written as one OCI layout. For registries of tests.

use std::fs;
use std::io;
use std::path::Path;

use lepton_formats::Content;
use serde::Deserialize;
use toml::Spanned;

use super::image::{self, ImageConfig};
use super::oci::NAME;
use super::{Blobs, FOLDER, PreloadError, files};
use crate::arch::Arch;
use crate::assemble::{self, AssembleError, BUILDER};
use crate::name::RootPath;
use crate::plan::{self, PlannedPackage};
use crate::source_debian;
use crate::spec::{Catalog, Parsed, SpecError};
use crate::tools::Toolbox;
use crate::tree::{Node, NodeKind};

/// One container image.
#[derive(Clone, Copy, Debug, Default)]
pub struct Container<'a> {
    /// Its whole name, with registry and tag.
    pub name: &'a str,
    /// Packages of kind `debian` or `files` that it is made of.
    pub packages: &'a [&'a str],
    /// Programs: where they lie in it, and their files.
    pub programs: &'a [(&'a str, &'a Path)],
    /// Further files.
    pub files: &'a [Placed],
    /// The program and its first arguments, which the arguments of a pod leave.
    pub entrypoint: &'a [&'a str],
    /// What a container of it runs unless it is told; arguments where there is an entry point.
    pub command: &'a [&'a str],
    /// Whom it runs as: a number or a name; root when it is empty.
    pub user: &'a str,
}

/// A further file, folder or link of a container.
pub type Placed = (RootPath, Node);

/// A file of this machine.
pub fn file(path: &str, mode: u32, from: &Path) -> Result<Placed, PreloadError> {
    node(path, mode, NodeKind::File(Content::open(from).map_err(unreadable(from))?))
}

/// A text file that everybody may read.
pub fn text(path: &str, text: &str) -> Result<Placed, PreloadError> {
    node(path, 0o644, NodeKind::File(Content::from(text.as_bytes())))
}

/// A symbolic link.
pub fn link(path: &str, target: &str) -> Result<Placed, PreloadError> {
    node(path, 0o777, NodeKind::Link(target.to_owned()))
}

/// A folder.
pub fn folder(path: &str) -> Result<Placed, PreloadError> {
    node(path, 0o755, NodeKind::Folder)
}

fn node(path: &str, mode: u32, kind: NodeKind) -> Result<Placed, PreloadError> {
    Ok((path.parse()?, Node { mode, kind, owner: BUILDER.to_owned() }))
}

/// Writes a layout with these images into `folder`, which is made.
pub fn write_layout(
    containers: &[Container<'_>],
    catalog: &Catalog,
    arch: Arch,
    toolbox: &Toolbox<'_>,
    folder: &Path,
) -> Result<(), PreloadError> {
    let (mut blobs, mut entries) = (Blobs::new(), Vec::new());
    for container in containers {
        let packages = packages(container, catalog, arch).map_err(PreloadError::Spec)?;
        let inputs = source_debian::inputs(&packages, arch, toolbox)?;
        let mut tree = assemble::container_tree(&packages, catalog.root(), &inputs)?;
        for (place, program) in container.programs {
            let (path, node) = file(place, 0o755, program)?;
            tree.add(path, node).map_err(AssembleError::from)?;
        }
        for (path, node) in container.files {
            tree.add(path.clone(), node.clone()).map_err(AssembleError::from)?;
        }
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
        let config = ImageConfig {
            entrypoint: words(container.entrypoint),
            command: words(container.command),
            user: container.user.to_owned(),
        };
        let made = image::write(&tree, &config, arch, toolbox.lock.date, &mut blobs);
        let mut entry = made.map_err(unreadable(folder))?;
        entry.annotations.insert(NAME.to_owned(), container.name.to_owned());
        entries.push(entry);
    }
    for (path, node) in files(entries, blobs)? {
        let name = path.as_str().strip_prefix(FOLDER).unwrap_or(path.as_str()).trim_start_matches('/');
        let target = folder.join(name);
        if let NodeKind::File(content) = node.kind {
            write(&target, &content)
                .map_err(|source| PreloadError::Write { path: target.clone(), source })?;
        }
    }
    Ok(())
}

/// What a container says about its packages, as if it stood in a file.
#[derive(Deserialize)]
struct Wanted {
    packages: Vec<Spanned<String>>,
}

fn packages(
    container: &Container<'_>,
    catalog: &Catalog,
    arch: Arch,
) -> Result<Vec<PlannedPackage>, Vec<SpecError>> {
    let text = format!("packages = {:?}\n", container.packages);
    let wanted = Parsed::<Wanted>::parse(container.name, text).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    let planned = plan::of_container(&wanted, &wanted.value.packages, catalog, arch, &mut errors);
    if errors.is_empty() { Ok(planned) } else { Err(errors) }
}

fn write(target: &Path, content: &Content) -> io::Result<()> {
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    io::copy(&mut content.reader(), &mut fs::File::create(target)?).map(drop)
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> PreloadError {
    let path = path.to_owned();
    move |source| PreloadError::Read { path, source }
}
