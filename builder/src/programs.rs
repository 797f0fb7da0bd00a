//! The programs that a plan's packages install and that are compiled for them, by package.
//!
//! How a program is compiled is in `compile/guest.rs` and `compile/go.rs`; here it is only found in the plan.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use lepton_formats::Content;

use crate::arch::Arch;
use crate::assemble::Inputs;
use crate::compile::CompileError;
use crate::compile::go::{Cgo, GoBuild, GoProgram};
use crate::compile::guest::{GuestBuild, GuestProgram};
use crate::digest::Digest;
use crate::name::{PackageName, RootPath};
use crate::plan::{Plan, PlannedPackage};
use crate::spec::{Program, SourceSpec};
use crate::store::Output;
use crate::tools::Toolbox;
use crate::tree::{Node, NodeKind};

/// How the owner of a program begins that was compiled from Go modules; the package's name follows.
pub(crate) const GO_OWNER: &str = "Go programs of ";
/// PID 1's folder, and its program.
const INIT: &str = "init";

/// Contents of the programs of a plan.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeMap<PackageName, Vec<(RootPath, Node)>>);

/// What a package's programs were compiled to.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The package.
    pub package: PackageName,
    /// What they were compiled from.
    pub language: Language,
    /// Their names in the output.
    pub binaries: Vec<String>,
    /// The files in the store.
    pub output: Output,
}

/// What a program is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A crate of this repository.
    Rust,
    /// Pinned modules.
    Go,
}

impl Programs {
    /// Something in place of each program of `plan`, where only paths matter.
    pub fn stand_ins(plan: &Plan) -> Self {
        let none = |_: &PlannedPackage| Ok::<_, Infallible>(|_: &Program| Ok(Content::from(Vec::new())));
        Self::each(plan, none).unwrap_or_else(|never| match never {})
    }

    /// What packages install from elsewhere, with the programs.
    pub fn added_to(&self, mut inputs: Inputs) -> Inputs {
        for (package, nodes) in &self.0 {
            inputs.packages.entry(package.clone()).or_default().extend(nodes.iter().cloned());
        }
        inputs
    }

    /// Asks once for each package with programs, and then for each of its programs.
    fn each<E, F: Fn(&Program) -> Result<Content, E>>(
        plan: &Plan,
        contents: impl Fn(&PlannedPackage) -> Result<F, E>,
    ) -> Result<Self, E> {
        let mut all = BTreeMap::new();
        for package in &plan.packages {
            let programs = package.programs();
            if programs.is_empty() {
                continue;
            }
            let owner = match package.source {
                SourceSpec::Go { .. } => format!("{GO_OWNER}{}", package.name),
                _ => package.name.to_string(),
            };
            let content = contents(package)?;
            let node = |program: Program| {
                let kind = NodeKind::File(content(&program)?);
                Ok((program.to, Node { mode: 0o755, kind, owner: owner.clone() }))
            };
            let nodes = programs.into_iter().map(node).collect::<Result<_, E>>()?;
            all.insert(package.name.clone(), nodes);
        }
        Ok(Self(all))
    }
}

/// How PID 1 and the programs of a plan are compiled.
#[derive(Clone, Copy, Debug)]
pub struct ProgramBuilds<'a> {
    /// The repository.
    pub repo: &'a Path,
    /// What they are for.
    pub arch: Arch,
    /// The machine's cargo.
    pub cargo: &'a Path,
    /// Whether nothing may be downloaded.
    pub offline: bool,
}

/// How one package's programs are compiled.
enum Build<'a> {
    Rust(GuestBuild<'a>),
    Go(GoBuild<'a>),
}

impl<'a> ProgramBuilds<'a> {
    /// How PID 1 is compiled, which every image has.
    pub fn init(&self) -> GuestBuild<'a> {
        let programs = &[GuestProgram { folder: INIT, binary: INIT }];
        let Self { repo, arch, cargo, offline } = *self;
        GuestBuild { repo, name: INIT, programs, arch, cargo, offline }
    }

    /// The key of each package's programs in their place: a tree made of them changes when a program would.
    pub fn keys(&self, plan: &Plan, toolbox: &Toolbox<'_>) -> Result<Programs, CompileError> {
        Programs::each(plan, |package| {
            let key = self.with_build(package, |build| build.key(toolbox))?.to_string();
            Ok(move |_: &Program| Ok(Content::from(key.clone().into_bytes())))
        })
    }

    /// The programs, compiled or from the store.
    pub fn outputs(&self, plan: &Plan, toolbox: &Toolbox<'_>) -> Result<Programs, CompileError> {
        Programs::each(plan, |package| {
            let output = self.with_build(package, |build| build.output(toolbox))?;
            Ok(move |program: &Program| {
                let path = output.path(&program.binary);
                Content::open(&path).map_err(|source| CompileError::File { action: "read", path, source })
            })
        })
    }

    /// What each package's programs were compiled to.
    pub fn compiled(&self, plan: &Plan, toolbox: &Toolbox<'_>) -> Result<Vec<Compiled>, CompileError> {
        let mut all = Vec::new();
        for package in &plan.packages {
            let programs = package.programs();
            if programs.is_empty() {
                continue;
            }
            let language = match package.source {
                SourceSpec::Go { .. } => Language::Go,
                _ => Language::Rust,
            };
            all.push(Compiled {
                package: package.name.clone(),
                language,
                binaries: programs.into_iter().map(|program| program.binary).collect(),
                output: self.with_build(package, |build| build.output(toolbox))?,
            });
        }
        Ok(all)
    }

    fn with_build<T>(&self, package: &PlannedPackage, run: impl FnOnce(&Build<'_>) -> T) -> T {
        let programs = package.programs();
        let (repo, arch, cargo, offline) = (self.repo, self.arch, self.cargo, self.offline);
        let name = package.name.as_str();
        if let SourceSpec::Go { commands, multi_call, tags, strings, .. } = &package.source {
            let list: Vec<GoProgram<'_>> =
                commands.iter().map(|(name, package)| GoProgram { name: name.as_str(), package }).collect();
            let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
            let strings: Vec<(&str, &str)> =
                strings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let folder = repo.join("packages").join(name);
            return run(&Build::Go(GoBuild {
                name,
                folder: &folder,
                programs: &list,
                multi_call: multi_call.as_ref().map(PackageName::as_str),
                tags: &tags,
                cgo: Cgo::Off,
                strings: &strings,
                arch,
                offline,
            }));
        }
        let list: Vec<GuestProgram<'_>> = programs
            .iter()
            .map(|program| GuestProgram { folder: &program.from, binary: &program.binary })
            .collect();
        run(&Build::Rust(GuestBuild { repo, name, programs: &list, arch, cargo, offline }))
    }
}

impl Build<'_> {
    fn key(&self, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
        match self {
            Self::Rust(build) => build.key(toolbox),
            Self::Go(build) => build.key(toolbox),
        }
    }

    fn output(&self, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
        match self {
            Self::Rust(build) => build.output(toolbox),
            Self::Go(build) => build.output(toolbox),
        }
    }
}
