//! `repro`: builds an image twice, as differently as one machine can, and compares every byte; or builds it once and
//! compares it with artifacts that somebody else built. It compares and explains; it builds by starting this program.

mod against;
mod clock;
mod compare;
mod explain;
mod place;
mod variant;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build;
use lepton_builder::compile::kernel::KernelBuild;
use lepton_builder::kernel_config::WantedConfig;
use lepton_builder::name::ImageName;

use crate::cli::{Cli, ReproOptions, Shared};
use crate::context::{CommandResult, Context};
use crate::exit::Different;
use crate::image;
use compare::Difference;
use place::{Outputs, Place};
use variant::Variant;

pub(crate) use clock::prove;

/// `cargo xtask repro`.
pub(crate) fn repro(options: &ReproOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let (image, arch) = context.target(&options.target)?;
    let run = Run { context: &context, options, image: &image, arch };
    let differences = match &options.against {
        Some(dir) => run.against(dir)?,
        None => run.twice()?,
    };
    if differences.is_empty() {
        context.progress.line("every byte is the same");
        return Ok(ExitCode::SUCCESS);
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    Err(Different { count: differences.len() }.into())
}

struct Run<'a> {
    context: &'a Context,
    options: &'a ReproOptions,
    image: &'a ImageName,
    arch: Arch,
}

impl Run<'_> {
    fn twice(&self) -> Result<Vec<Difference>> {
        let formats = image::formats(&self.options.format, &Format::ALL)?;
        let (first, second) = (Variant::first(self.context), Variant::second(self.context, self.options)?);
        for line in second.differences_from(&first) {
            self.context.progress.line(&line);
        }
        let shared = self.shared_outputs()?;
        let one = Place::make(self.context, &first)?;
        one.take_outputs(self.context.store.root(), &shared)?;
        first.build(self, &one, &formats)?;
        let two = Place::make(self.context, &second)?;
        two.take_outputs(&one.store(), &shared)?;
        // All that a build downloads is checked by digest, so it need not be downloaded twice.
        two.take_downloads(&one.store())?;
        two.give_to(second.user)?;
        second.build(self, &two, &formats)?;
        if let Some(name) = &self.options.plant {
            plant(&two.out().join(name))?;
        }
        let mut differences = compare::outputs(&one.store(), &two.store())?;
        let artifacts = compare::folders(&one.out(), &two.out())?;
        if !artifacts.is_empty() {
            explain::explain(self.context, &artifacts, &one.out(), &two.out());
        }
        differences.extend(artifacts);
        Ok(differences)
    }

    fn against(&self, dir: &Path) -> Result<Vec<Difference>> {
        let wanted = against::read(self.context, dir, self.image, self.arch)?;
        let mut variant = Variant::second(self.context, self.options)?;
        // The other machine is another user already, and crates may have to be downloaded.
        variant.user = None;
        let place = Place::make(self.context, &variant)?;
        place.take_outputs(self.context.store.root(), &self.shared_outputs()?)?;
        variant.build(self, &place, &wanted.formats)?;
        if let Some(name) = &self.options.plant {
            plant(&place.out().join(name))?;
        }
        let differences = wanted.compare(&place.out())?;
        if !differences.is_empty() {
            explain::explain(self.context, &differences, dir, &place.out());
        }
        Ok(differences)
    }

    /// What both builds shall have the same.
    fn shared_outputs(&self) -> Result<Outputs> {
        if self.options.shared.contains(&Shared::Compiled) {
            return Ok(Outputs::All);
        }
        if !self.options.shared.contains(&Shared::Kernel) {
            return Ok(Outputs::These(Vec::new()));
        }
        let plan = build::plan(&self.context.catalog, self.image, self.arch)?;
        let wanted = WantedConfig::load(self.context.catalog.root(), &plan.kernel, self.arch)?;
        let kernel = KernelBuild { spec: &plan.kernel, wanted: &wanted, arch: self.arch, jobs: 1 };
        Ok(Outputs::These(vec![kernel.key(&self.context.toolbox())?]))
    }
}

/// A copy of everything that builds read.
pub(crate) fn copy_repo(from: &Path, to: &Path) -> Result<()> {
    place::copy_repo(from, to, variant::Order::Forward)
}

/// Changes one byte in the middle of an artifact: shows that a difference is found.
fn plant(path: &Path) -> Result<()> {
    let mut bytes =
        fs::read(path).with_context(|| format!("cannot plant a difference in {}", path.display()))?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(path, bytes).with_context(|| format!("cannot plant a difference in {}", path.display()))
}
