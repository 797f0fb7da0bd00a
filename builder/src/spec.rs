//! What a person writes: `images/NAME.toml` and `packages/NAME/package.toml`.
//!
//! Unknown keys are refused; nothing is resolved here.

mod preload;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lepton_service_spec::ServiceSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::arch::PerArch;
use crate::name::{ImageName, PackageName, RootPath};
use crate::suggest;

pub use preload::Preload;
pub use source::{Install, Program, SourceSpec, WorkspaceProgram};

/// One mistake in a description, with the place where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct SpecError {
    /// File and line.
    pub place: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// An image description.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ImageSpec {
    /// One sentence for people.
    pub summary: String,
    /// Built when no image is named.
    #[serde(default)]
    pub default: bool,
    /// Packages to install, with all they need.
    pub packages: Vec<Spanned<String>>,
    /// Container images to bring along.
    #[serde(default)]
    pub preload: Vec<Spanned<Preload>>,
    /// Extra words of the kernel command line.
    #[serde(default)]
    pub kernel_arguments: Vec<String>,
    /// What a person may choose about the disk; the EFI system partition always has 1 GiB.
    #[serde(default)]
    pub disk: Disk,
    /// The virtual machine that the OVA describes and `run` starts.
    #[serde(default)]
    pub machine: Machine,
    /// Limits that tests hold the image to.
    pub budgets: Budgets,
}

/// What a person may choose about the disk; the EFI system partition always has 1 GiB.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// State partition as written; it grows to the disk at first boot.
    #[serde(default = "Disk::state_mib")]
    pub state_mib: u32,
}

impl Disk {
    fn state_mib() -> u32 {
        64
    }
}

impl Default for Disk {
    fn default() -> Self {
        Self { state_mib: Self::state_mib() }
    }
}

/// A virtual machine's size.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Machine {
    /// Processors.
    #[serde(default = "Machine::cpus")]
    pub cpus: u32,
    /// Memory.
    #[serde(default = "Machine::memory_mib")]
    pub memory_mib: u32,
}

impl Machine {
    fn cpus() -> u32 {
        2
    }

    fn memory_mib() -> u32 {
        1024
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self { cpus: Self::cpus(), memory_mib: Self::memory_mib() }
    }
}

/// Limits; a build or test that passes one fails.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Budgets {
    /// The compressed kernel.
    pub kernel_bytes: PerArch<u64>,
    /// The unified kernel image: the whole system.
    pub uki_bytes: u64,
    /// PID 1. A build that passes this one fails, because nobody sees its growth otherwise.
    #[serde(default = "Budgets::init_bytes")]
    pub init_bytes: u64,
    /// MemTotal - MemAvailable when all services are ready, with 512 MiB of memory.
    pub memory_at_ready_kib: u64,
    /// Virtual time from kernel start to the ready line.
    pub ready_ms: u64,
    /// The same in percent of the time from kernel start to the start of PID 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_percent_of_start: Option<u64>,
}

impl Budgets {
    fn init_bytes() -> u64 {
        1_000_000
    }
}

/// A package's recipe.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Recipe {
    /// One sentence for people.
    pub summary: String,
    /// Packages that must be there too.
    #[serde(default)]
    pub needs: Vec<Spanned<String>>,
    /// Where its files come from.
    pub source: SourceSpec,
    /// Files to install.
    #[serde(default)]
    pub install: Vec<Spanned<Install>>,
    /// Symbolic links to make: path -> target.
    #[serde(default)]
    pub links: BTreeMap<RootPath, String>,
    /// Empty folders to make.
    #[serde(default)]
    pub folders: Vec<RootPath>,
    /// What PID 1 starts and looks after.
    #[serde(default)]
    pub services: Vec<Spanned<ServiceSpec>>,
}

/// A parsed file with what is needed to point into it.
#[derive(Clone, Debug)]
pub struct Parsed<T> {
    /// The value.
    pub value: T,
    /// Path shown in errors, relative to the repository.
    pub shown: String,
    text: String,
}

impl<T: DeserializeOwned> Parsed<T> {
    /// Reads and parses `relative` below `repo`.
    pub fn load(repo: &Path, relative: &str) -> Result<Self, SpecError> {
        let text = fs::read_to_string(repo.join(relative)).map_err(|error| SpecError {
            place: relative.to_owned(),
            message: format!("cannot read the file: {error}"),
        })?;
        Self::parse(relative, text)
    }

    /// Parses `text`; `shown` is its name in errors.
    pub fn parse(shown: &str, text: String) -> Result<Self, SpecError> {
        match toml::from_str(&text) {
            Ok(value) => Ok(Self { value, shown: shown.to_owned(), text }),
            Err(error) => {
                let line = error.span().map_or(1, |span| line_of(&text, span.start));
                Err(SpecError {
                    place: format!("{shown}:{line}"),
                    message: suggest::with_suggestion(error.message()),
                })
            }
        }
    }
}

impl<T> Parsed<T> {
    /// An error about a value of this file.
    pub fn error_at<V>(&self, at: &Spanned<V>, message: String) -> SpecError {
        SpecError { place: format!("{}:{}", self.shown, line_of(&self.text, at.span().start)), message }
    }
}

/// A repository's descriptions.
#[derive(Debug)]
pub struct Catalog {
    root: PathBuf,
}

impl Catalog {
    /// The descriptions below `root`.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The top folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All image names, sorted.
    pub fn images(&self) -> Vec<ImageName> {
        let names = self.list("images").into_iter();
        names.filter_map(|name| name.strip_suffix(".toml")?.parse().ok()).collect()
    }

    /// All package names, sorted: folders with a `package.toml`.
    pub fn packages(&self) -> Vec<PackageName> {
        let is_package = |name: &String| self.root.join("packages").join(name).join("package.toml").is_file();
        self.list("packages").into_iter().filter(is_package).filter_map(|name| name.parse().ok()).collect()
    }

    /// One image.
    pub fn image(&self, name: &ImageName) -> Result<Parsed<ImageSpec>, SpecError> {
        let images = self.images();
        if !images.contains(name) {
            let known: Vec<&str> = images.iter().map(ImageName::as_str).collect();
            let hint = suggest::hint(name.as_str(), known.iter().copied());
            let message =
                format!("no image {name:?}{hint} (images: {})", known.join(", "), name = name.as_str());
            return Err(SpecError { place: "images".to_owned(), message });
        }
        Parsed::load(&self.root, &format!("images/{name}.toml"))
    }

    /// The image built when none is named: the first whose description says `default = true`.
    pub fn default_image(&self) -> Result<ImageName, SpecError> {
        for name in self.images() {
            if self.image(&name)?.value.default {
                return Ok(name);
            }
        }
        Err(SpecError {
            place: "images".to_owned(),
            message: "no image says default = true; name one".to_owned(),
        })
    }

    /// One package's recipe.
    pub fn recipe(&self, name: &PackageName) -> Result<Parsed<Recipe>, SpecError> {
        Parsed::load(&self.root, &format!("packages/{name}/package.toml"))
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let listed =
            walkdir::WalkDir::new(self.root.join(folder)).min_depth(1).max_depth(1).sort_by_file_name();
        listed.into_iter().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
        let text = "summary = \"x\"\npackges = []\n".to_owned();
        let error = Parsed::<ImageSpec>::parse("images/x.toml", text).unwrap_err();
        assert_eq!(error.place, "images/x.toml:2");
        assert!(error.message.contains("unknown field `packges`; did you mean \"packages\"?"), "{error}");
    }
}
