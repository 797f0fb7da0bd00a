//! The bill of materials: an SPDX 2.3 document of what is in an image and on its media, the same bytes inside the image
//! and beside its artifacts.
//!
//! It is a function of the plan, the lock, the root and what was compiled: it reads no clock and names no folder.
//! Which tools built the image is told by the provenance (`provenance.rs`), not here.

mod collect;
pub mod purl;
mod spdx;

use std::fs;
use std::io;
use std::path::PathBuf;

use lepton_formats::{Content, Seed};

use crate::arch::Arch;
use crate::compile::{CompileError, kernel};
use crate::date;
use crate::digest::KeyBuilder;
use crate::lock::{Lock, LockError};
use crate::name::{BadName, PackageName};
use crate::plan::LockedPlan;
use crate::preload::PreloadedImage;
use crate::programs::Language;
use crate::store::Output;
use crate::tree::{Clash, Node, NodeKind, RootTree};
use collect::Collector;
use spdx::{CreationInfo, Document};

/// Where the document lies in the root.
pub const PATH: &str = "/usr/share/lepton/sbom.spdx.json";
/// Its extension beside the artifacts.
pub const EXTENSION: &str = "spdx.json";
/// Who supplies what this repository holds.
const SUPPLIER: &str = "Lepton";
/// Its licence.
const LICENSE: &str = "Apache-2.0";
/// Element of the document itself.
const DOCUMENT: &str = "SPDXRef-DOCUMENT";

/// What the document describes.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// The plan.
    pub locked: &'a LockedPlan,
    /// Versions and digests of Debian packages.
    pub lock: &'a Lock,
    /// The root without the document.
    pub tree: &'a RootTree,
    /// The compiled kernel.
    pub kernel: &'a Output,
    /// Programs that were compiled.
    pub programs: &'a [Program<'a>],
    /// Container images that it brings along.
    pub preloaded: &'a [PreloadedImage],
}

/// A compiled program.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// The package that installs it into the root; none for PID 1, which lies in the initrd.
    pub package: Option<&'a PackageName>,
    /// What it was compiled from.
    pub language: Language,
    /// Name of the binary in the output.
    pub binary: &'a str,
    /// What was compiled.
    pub output: &'a Output,
}

/// The document cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SbomError {
    /// The lock lacks a package that is in every image.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The list of a program's crates or modules cannot be used.
    #[error(transparent)]
    Crates(#[from] CompileError),
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another owner wants the document's path.
    #[error(transparent)]
    Clash(#[from] Clash),
    /// The document's path is wrong.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// The text of the document.
pub fn document(inputs: &Inputs<'_>) -> Result<String, SbomError> {
    let plan = inputs.locked.plan();
    let mut all = Collector::new(inputs.lock, inputs.programs)?;
    let image = all.own("Image", &format!("lepton-{}", plan.image), plan.version, "OPERATING_SYSTEM");
    all.relate(DOCUMENT, "DESCRIBES", &image);

    let release_path = inputs.kernel.path(kernel::RELEASE);
    let release =
        fs::read_to_string(&release_path).map_err(|source| SbomError::Read { path: release_path, source })?;
    let kernel = all.kernel(release.trim(), &plan.kernel.source, inputs.kernel)?;
    let stub = all.debian(&format!("systemd-boot-efi:{}", plan.arch.debian()))?;
    for part in [&kernel, &stub] {
        all.relate(&image, "CONTAINS", part);
    }
    for owner in all.files(inputs.tree, plan)? {
        all.relate(&image, "CONTAINS", &owner);
    }
    for program in inputs.programs {
        let program = all.program(program, plan.arch)?;
        all.relate(&image, "CONTAINS", &program);
    }

    for container in inputs.preloaded {
        let container = all.container(container, plan)?;
        all.relate(&image, "CONTAINS", &container);
    }

    let disk = all.own("Disk", &format!("lepton-{}-disk", plan.image), plan.version, "DEVICE");
    let cd = all.own("CD", &format!("lepton-{}-cd", plan.image), plan.version, "INSTALL");
    let loaders = match plan.arch {
        Arch::X86_64 => vec![all.debian("isolinux:all")?, all.debian("syslinux-common:all")?],
        Arch::Aarch64 => Vec::new(),
    };
    for medium in [&disk, &cd] {
        all.relate(DOCUMENT, "DESCRIBES", medium);
        all.relate(medium, "CONTAINS", &image);
    }
    // The boot manager comes from the package that the stub comes from.
    all.relate(&disk, "CONTAINS", &stub);
    for loader in &loaders {
        all.relate(&cd, "CONTAINS", loader);
    }
    Ok(render(inputs.locked, all))
}

fn render(locked: &LockedPlan, all: Collector<'_>) -> String {
    let (packages, files, relationships) = all.into_parts();
    let mut document = Document {
        spdx_version: "SPDX-2.3",
        data_license: "CC0-1.0",
        id: DOCUMENT,
        name: locked.stem(),
        document_namespace: String::new(),
        creation_info: CreationInfo {
            created: date::format_time(locked.date()),
            creators: vec![
                format!("Organization: {SUPPLIER}"),
                format!("Tool: lepton-builder-{}", locked.plan().version),
            ],
        },
        packages,
        files,
        relationships,
    };
    let text = |document: &Document| {
        serde_json::to_string_pretty(document).expect("a document is made of text") + "\n"
    };
    // Section 6.5: another document has another namespace, so it derives from all that the document says.
    let key = KeyBuilder::new("spdx")
        .with_digest("plan", locked.digest())
        .with("document", text(&document))
        .finish();
    document.document_namespace =
        format!("urn:uuid:{}", crate::pack::hyphenated(Seed::new(key.bytes()).uuid("spdx namespace")));
    text(&document)
}

/// Puts the document into the root.
pub fn add_to(tree: &mut RootTree, text: &str) -> Result<(), SbomError> {
    let kind = NodeKind::File(Content::from(text.as_bytes().to_vec()));
    let owner = crate::assemble::BUILDER.to_owned();
    Ok(tree.add(PATH.parse()?, Node { mode: 0o644, kind, owner })?)
}

#[cfg(test)]
mod tests;
