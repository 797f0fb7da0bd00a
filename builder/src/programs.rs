//! The programs of this repository that a plan's packages install, by package.
//!
//! How a program is compiled is in `compile/guest.rs`; here it is only found in the plan.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use lepton_formats::Content;

use crate::arch::Arch;
use crate::assemble::Inputs;
use crate::compile::CompileError;
use crate::compile::guest::GuestBuild;
use crate::name::{PackageName, RootPath};
use crate::plan::{Plan, Program};
use crate::store::Output;
use crate::tools::Toolbox;
use crate::tree::{Node, NodeKind};

/// Contents of the programs of a plan.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeMap<PackageName, (RootPath, Content)>);

impl Programs {
    /// Something in place of each program of `plan`, where only paths matter.
    pub fn stand_ins(plan: &Plan) -> Self {
        Self::each(plan, |_| Ok::<_, Infallible>(Content::from(Vec::new())))
            .unwrap_or_else(|never| match never {})
    }

    /// What packages install from elsewhere, with the programs.
    pub fn added_to(&self, mut inputs: Inputs) -> Inputs {
        for (package, (path, content)) in &self.0 {
            let kind = NodeKind::File(content.clone());
            let node = Node { mode: 0o755, kind, owner: package.to_string() };
            inputs.packages.entry(package.clone()).or_default().push((path.clone(), node));
        }
        inputs
    }

    fn each<E>(plan: &Plan, content: impl Fn(&Program) -> Result<Content, E>) -> Result<Self, E> {
        let programs = plan.packages.iter().filter_map(|package| Some((&package.name, package.program()?)));
        let contents =
            programs.map(|(name, program)| Ok((name.clone(), (program.to.clone(), content(&program)?))));
        contents.collect::<Result<_, _>>().map(Self)
    }
}

/// How the programs of a plan are compiled.
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

impl ProgramBuilds<'_> {
    /// The key of each program in its place: a tree made of them changes when a program would.
    pub fn keys(&self, plan: &Plan, toolbox: &Toolbox<'_>) -> Result<Programs, CompileError> {
        self.each(plan, |build| Ok(Content::from(build.key(toolbox)?.to_string().into_bytes())))
    }

    /// The programs, compiled or from the store.
    pub fn outputs(&self, plan: &Plan, toolbox: &Toolbox<'_>) -> Result<Programs, CompileError> {
        self.each(plan, |build| {
            let path = build.output(toolbox)?.path(build.binary);
            Content::open(&path).map_err(|source| CompileError::File { action: "read", path, source })
        })
    }

    /// What each package's program was compiled to: package, binary and the output in the store.
    pub fn compiled(
        &self,
        plan: &Plan,
        toolbox: &Toolbox<'_>,
    ) -> Result<Vec<(PackageName, String, Output)>, CompileError> {
        let programs = plan.packages.iter().filter_map(|package| Some((&package.name, package.program()?)));
        programs
            .map(|(name, program)| {
                let output = self.build_of(&program).output(toolbox)?;
                Ok((name.clone(), program.binary.clone(), output))
            })
            .collect()
    }

    fn each(
        &self,
        plan: &Plan,
        content: impl Fn(&GuestBuild<'_>) -> Result<Content, CompileError>,
    ) -> Result<Programs, CompileError> {
        Programs::each(plan, |program| content(&self.build_of(program)))
    }

    fn build_of<'b>(&'b self, program: &'b Program) -> GuestBuild<'b> {
        GuestBuild {
            repo: self.repo,
            folder: &program.folder,
            binary: &program.binary,
            arch: self.arch,
            cargo: self.cargo,
            offline: self.offline,
        }
    }
}
