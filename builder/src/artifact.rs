//! Artifacts: the files we give people. Each format is a function of the same payload.

mod disk;
mod iso;
mod ova;
mod pxe;
mod uki;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use lepton_formats::cpio::CpioError;
use lepton_formats::disk::DiskError;
use lepton_formats::iso::IsoError;
use lepton_formats::ova::OvaError;
use lepton_formats::qcow2::Qcow2Error;
use lepton_formats::uki::UkiError;
use lepton_formats::vmdk::VmdkError;
use lepton_formats::{Content, Seed, Sparse};
use serde::{Serialize, Serializer};

use crate::plan::LockedPlan;
use crate::progress::Progress;
use crate::store::Output;
use crate::tools::ToolTree;

/// A kind of artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Unified kernel image: the whole system as one EFI program.
    Uki,
    /// Disk image for bare metal and clouds.
    Raw,
    /// Disk image for QEMU.
    Qcow2,
    /// Disk image for VMware.
    Vmdk,
    /// Virtual appliance for vSphere.
    Ova,
    /// CD and USB stick.
    Iso,
    /// Folder for network boot.
    Pxe,
}

/// A name that is no format.
#[derive(Debug, thiserror::Error)]
#[error("unknown format {text:?}{hint}; formats: {known}")]
pub struct UnknownFormat {
    text: String,
    hint: String,
    known: String,
}

impl Format {
    /// All formats, in the order they are written.
    pub const ALL: [Self; 7] =
        [Self::Uki, Self::Raw, Self::Qcow2, Self::Vmdk, Self::Ova, Self::Iso, Self::Pxe];
    /// What is written when nothing is asked for.
    pub const DEFAULT: [Self; 2] = [Self::Iso, Self::Ova];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uki => "uki",
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "vmdk",
            Self::Ova => "ova",
            Self::Iso => "iso",
            Self::Pxe => "pxe",
        }
    }

    /// The extension of its file or folder.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Uki => "efi",
            other => other.name(),
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = Self::ALL.map(Self::name);
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| UnknownFormat {
            text: text.to_owned(),
            hint: crate::suggest::hint(text, names),
            known: names.join(", "),
        })
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// An artifact could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// The unified kernel image.
    #[error(transparent)]
    Uki(#[from] UkiError),
    /// The initrd of the image that installs.
    #[error(transparent)]
    Cpio(#[from] CpioError),
    /// The disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The CD.
    #[error(transparent)]
    Iso(#[from] IsoError),
    /// The QEMU disk.
    #[error(transparent)]
    Qcow2(#[from] Qcow2Error),
    /// The VMware disk.
    #[error(transparent)]
    Vmdk(#[from] VmdkError),
    /// The appliance.
    #[error(transparent)]
    Ova(#[from] OvaError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Everything that formats are made of.
#[derive(Debug)]
pub struct Payload<'a> {
    /// The plan.
    pub locked: &'a LockedPlan,
    /// The compiled kernel.
    pub kernel: &'a Output,
    /// The initrd.
    pub initrd: Content,
    /// The state partition's file system.
    pub state: Sparse,
    /// Boot loaders.
    pub tools: &'a ToolTree,
}

/// Writes `formats` into `dir`; gives the names of the files and folders written.
pub fn write(
    payload: &Payload<'_>,
    formats: &[Format],
    dir: &Path,
    progress: &Progress,
) -> Result<Vec<(Format, String)>, ArtifactError> {
    let seed = Seed::new(payload.locked.digest().bytes());
    let stem = payload.locked.stem();
    let uki = Content::from(uki::build(payload)?);
    let raw = disk::build(payload, &uki, &seed)?;
    let mut written = Vec::new();
    for format in formats {
        let name = format!("{stem}.{}", format.extension());
        let path = dir.join(&name);
        let step = progress.step(&format!("write {}", format.name()), None);
        match format {
            Format::Uki => copy_to(&uki, &path)?,
            Format::Raw => sparse_to(&raw, &path)?,
            Format::Qcow2 => disk::qcow2(&raw, &path)?,
            Format::Vmdk => disk::vmdk(&raw, &seed, &path).map(drop)?,
            Format::Ova => ova::write(payload, &raw, &seed, &path)?,
            Format::Iso => sparse_to(&iso::build(payload, &uki, &seed)?, &path)?,
            Format::Pxe => pxe::write(payload, &uki, &path)?,
        }
        step.finish();
        written.push((*format, name));
    }
    Ok(written)
}

/// Makes an error of a file operation.
fn file_error(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ArtifactError {
    let path = path.into();
    move |source| ArtifactError::File { action, path, source }
}

fn open(path: PathBuf) -> Result<Content, ArtifactError> {
    Content::open(&path).map_err(file_error("read", path))
}

fn create(path: &Path) -> Result<File, ArtifactError> {
    File::create(path).map_err(file_error("make", path))
}

fn sparse_to(image: &Sparse, path: &Path) -> Result<(), ArtifactError> {
    image.write_to_file(&create(path)?).map_err(file_error("write", path))
}

fn copy_to(content: &Content, path: &Path) -> Result<(), ArtifactError> {
    let mut out = BufWriter::new(create(path)?);
    io::copy(&mut content.reader(), &mut out).and_then(|_| out.flush()).map_err(file_error("write", path))
}

fn text_to(text: &str, path: &Path) -> Result<(), ArtifactError> {
    fs::write(path, text).map_err(file_error("write", path))
}
