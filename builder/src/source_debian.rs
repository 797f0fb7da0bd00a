//! Recipes of kind `debian`: files picked by path out of pinned Debian packages for the image's architecture.
//!
//! A picked program brings its loader and the shared libraries it names (`elf.rs`), and every package that gave a file
//! brings its copyright file. Nothing of a package runs, and nothing else of it gets into the image.

mod elf;
mod packages;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use lepton_formats::Content;

use crate::arch::Arch;
use crate::assemble::{AssembleError, Inputs, mode_of};
use crate::lock::LockError;
use crate::name::{BadName, RootPath};
use crate::plan::PlannedPackage;
use crate::spec::{Install, SourceSpec};
use crate::tools::{Toolbox, ToolsError};
use crate::tree::{Node, NodeKind};
use elf::Needs;
use packages::{Packages, Picked};

/// How the owner of a file begins that comes from a Debian package; the package's name follows.
pub(crate) const OWNER: &str = "Debian package ";

/// A recipe's files cannot be taken from its Debian packages.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DebianError {
    /// The packages cannot be had or unpacked.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// The lock does not fit.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// No package has the file.
    #[error(
        "packages/{recipe}/package.toml wants {path}, which none of its Debian packages has ({})\n\
         hint: `dpkg -S {path}` says which package has a file", packages.join(", ")
    )]
    NoFile {
        /// The recipe.
        recipe: String,
        /// The file.
        path: String,
        /// The packages that were searched.
        packages: Vec<String>,
    },
    /// A program needs a library that no package has.
    #[error(
        "packages/{recipe}/package.toml: {file} needs the shared library {library}, which none of its Debian packages \
         has ({})\nhint: add the package of the library to `packages` of the source", packages.join(", ")
    )]
    NoLibrary {
        /// The recipe.
        recipe: String,
        /// The program or library.
        file: String,
        /// What it names.
        library: String,
        /// The packages that were searched.
        packages: Vec<String>,
    },
    /// A program is for another architecture.
    #[error("packages/{recipe}/package.toml: {file} is an ELF file for another architecture than {arch}")]
    WrongArch {
        /// The recipe.
        recipe: String,
        /// The program.
        file: String,
        /// What the image is for.
        arch: Arch,
    },
    /// A program cannot be understood.
    #[error("packages/{recipe}/package.toml: cannot understand the ELF file {file}")]
    Elf {
        /// The recipe.
        recipe: String,
        /// The program.
        file: String,
        /// Why.
        source: goblin::error::Error,
    },
    /// A file that is joined with others has no line end.
    #[error("packages/{recipe}/package.toml joins files, but {path} does not end with a line end")]
    Unfinished {
        /// The recipe.
        recipe: String,
        /// The file.
        path: PathBuf,
    },
    /// An unpacked file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The recipe's own values are wrong.
    #[error(transparent)]
    Recipe(#[from] AssembleError),
    /// A path of a package cannot be a path of an image.
    #[error(transparent)]
    Name(#[from] BadName),
}

/// What recipes take from Debian packages, fetching and unpacking those that the store lacks.
pub fn inputs(planned: &[PlannedPackage], arch: Arch, toolbox: &Toolbox<'_>) -> Result<Inputs, DebianError> {
    let mut inputs = Inputs::default();
    for package in planned {
        if let SourceSpec::Debian { .. } = package.source {
            let name = package.name.as_str();
            let found = Packages::new(toolbox.guest_tree(arch, name)?, toolbox.lock.guest(arch, name)?);
            add(package, arch, &found, &mut inputs)?;
        }
    }
    Ok(inputs)
}

/// Adds what one recipe picks out of `packages`.
fn add(
    package: &PlannedPackage,
    arch: Arch,
    packages: &Packages,
    inputs: &mut Inputs,
) -> Result<(), DebianError> {
    let recipe = package.name.to_string();
    let mut nodes = Vec::new();
    let mut closure = Closure { recipe: &recipe, arch, packages, shared: &mut inputs.shared };
    for install in &package.install {
        if install.join {
            nodes.push(join(install, &recipe, &mut closure)?);
            continue;
        }
        let picked = packages.find(&install.from).ok_or_else(|| DebianError::NoFile {
            recipe: recipe.clone(),
            path: install.from.clone(),
            packages: packages.names(),
        })?;
        let mode = mode_of(install, &recipe)?;
        let kind = NodeKind::File(open(&picked)?);
        let owner = format!("{OWNER}{}", picked.package);
        nodes.push((install.to.clone(), Node { mode, kind, owner }));
        closure.add_copyright(&picked)?;
        closure.add_needs(&install.from, &picked)?;
    }
    inputs.packages.insert(package.name.clone(), nodes);
    Ok(())
}

/// All files that match as one file, in the order of their names.
fn join(install: &Install, recipe: &str, closure: &mut Closure<'_>) -> Result<(RootPath, Node), DebianError> {
    let (folder, end) = install.pattern().expect("the plan was checked");
    let found = closure.packages.matching(folder, end);
    let Some(last) = found.last() else {
        let (path, packages) = (install.from.clone(), closure.packages.names());
        return Err(DebianError::NoFile { recipe: recipe.to_owned(), path, packages });
    };
    let owner = format!("{OWNER}{}", last.package);
    closure.add_copyright(last)?;
    let mut bytes = Vec::new();
    for picked in &found {
        let text = std::fs::read(&picked.path).map_err(read_error(&picked.path))?;
        // The next file would begin in the middle of a line.
        if text.last() != Some(&b'\n') {
            let path = picked.path.clone();
            return Err(DebianError::Unfinished { recipe: recipe.to_owned(), path });
        }
        bytes.extend(text);
    }
    let mode = mode_of(install, recipe)?;
    Ok((install.to.clone(), Node { mode, kind: NodeKind::File(Content::from(bytes)), owner }))
}

/// The shared libraries that picked files bring, collected until nothing new is named.
struct Closure<'a> {
    recipe: &'a str,
    arch: Arch,
    packages: &'a Packages,
    shared: &'a mut BTreeMap<RootPath, Node>,
}

impl Closure<'_> {
    fn add_needs(&mut self, file: &str, picked: &Picked) -> Result<(), DebianError> {
        let named =
            |source| DebianError::Elf { recipe: self.recipe.to_owned(), file: file.to_owned(), source };
        let bytes = std::fs::read(&picked.path).map_err(read_error(&picked.path))?;
        let Some(needs) = Needs::of(&bytes).map_err(named)? else { return Ok(()) };
        if !needs.is_for(self.arch) {
            let (recipe, file) = (self.recipe.to_owned(), file.to_owned());
            return Err(DebianError::WrongArch { recipe, file, arch: self.arch });
        }
        if let Some(loader) = &needs.loader {
            self.add_library(file, loader, std::slice::from_ref(loader))?;
            self.link_loader_folder(loader)?;
        }
        for library in &needs.libraries {
            let places = needs.places(library, file, self.arch);
            self.add_library(file, library, &places)?;
        }
        Ok(())
    }

    /// Installs the first of `places` that a package has, and what it needs in turn.
    fn add_library(&mut self, file: &str, library: &str, places: &[String]) -> Result<(), DebianError> {
        let found = places.iter().find_map(|place| Some((place, self.packages.find(place)?)));
        let (place, picked) = found.ok_or_else(|| DebianError::NoLibrary {
            recipe: self.recipe.to_owned(),
            file: file.to_owned(),
            library: library.to_owned(),
            packages: self.packages.names(),
        })?;
        let place: RootPath = packages::merged(place).parse()?;
        if self.shared.contains_key(&place) {
            return Ok(());
        }
        let owner = format!("{OWNER}{}", picked.package);
        // Loaders are programs, too; libraries need no permission to be mapped.
        let node = Node { mode: 0o755, kind: NodeKind::File(open(&picked)?), owner };
        let shown = place.to_string();
        self.shared.insert(place, node);
        self.add_copyright(&picked)?;
        self.add_needs(&shown, &picked)
    }

    /// Programs name their loader below `/lib64`, which is a link in Debian's merged /usr.
    fn link_loader_folder(&mut self, loader: &str) -> Result<(), DebianError> {
        if loader.starts_with("/lib64/") {
            let node = Node {
                mode: 0o777,
                kind: NodeKind::Link("usr/lib64".to_owned()),
                owner: "the dynamic loader".to_owned(),
            };
            self.shared.insert("/lib64".parse()?, node);
        }
        Ok(())
    }

    fn add_copyright(&mut self, picked: &Picked) -> Result<(), DebianError> {
        let path = format!("/usr/share/doc/{}/copyright", picked.package);
        if let Some(found) = self.packages.find(&path) {
            let owner = format!("{OWNER}{}", picked.package);
            let node = Node { mode: 0o644, kind: NodeKind::File(open(&found)?), owner };
            self.shared.insert(path.parse()?, node);
        }
        Ok(())
    }
}

fn open(picked: &Picked) -> Result<Content, DebianError> {
    Content::open(&picked.path).map_err(read_error(&picked.path))
}

fn read_error(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> DebianError {
    let path = path.into();
    move |source| DebianError::Read { path, source }
}
