//! `image` and `plan`: builds an image, or shows what would be built.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build::{self, BuildError, Built, Request};
use lepton_builder::compile::kernel::KernelBuild;
use lepton_builder::host::sign_password;
use lepton_builder::kernel_config::WantedConfig;
use lepton_builder::machine_config::MachineConfig;
use lepton_builder::name::ImageName;
use lepton_builder::sandbox;
use lepton_builder::sign::SigningKey;

use crate::cli::{Cli, ImageOptions, PlanOptions};
use crate::context::{CommandResult, Context, own_digest};
use crate::repro;

/// `cargo xtask image`.
pub(crate) fn image(options: &ImageOptions, cli: &Cli) -> CommandResult {
    let formats = formats(&options.format, &Format::DEFAULT)?;
    let mut context = Context::new(cli, options.offline)?;
    context.host.jobs = options.jobs.unwrap_or(context.host.jobs);
    let (image, arch) = context.target(&options.target)?;
    let config = match &options.config {
        Some(path) => MachineConfig::load(path).map_err(BuildError::Spec)?,
        None => MachineConfig::NONE,
    };
    // Before the build: a wrong password must not cost an hour.
    let key = options.sign.as_ref().map(|path| SigningKey::load(path, sign_password())).transpose()?;
    let order = Order { formats: &formats, config: &config, out: &options.out, offline: options.offline };
    let built = build(&context, &image, arch, &order)?;
    if let Some(clock) = &cli.clock {
        repro::prove(&context, clock)?;
    }
    for (_, name) in &built.written {
        let size: u64 = built
            .files
            .iter()
            .filter(|(file, _)| *file == name || file.starts_with(&format!("{name}/")))
            .map(|(_, facts)| facts.size)
            .sum();
        let note = if built.unchanged { " (unchanged)" } else { "" };
        context.progress.line(&format!("{} {size} bytes{note}", options.out.join(name).display()));
    }
    if let Some(key) = key {
        let name = key.sign(&options.out)?;
        context.progress.line(&options.out.join(name).display().to_string());
    }
    Ok(ExitCode::SUCCESS)
}

/// `cargo xtask plan`.
pub(crate) fn plan(options: &PlanOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let (image, arch) = context.target(&options.target)?;
    let plan = build::plan(&context.catalog, &image, arch)?;
    let text = if options.kernel_config {
        let wanted = WantedConfig::load(context.catalog.root(), &plan.kernel, arch)?;
        let kernel = KernelBuild { spec: &plan.kernel, wanted: &wanted, arch, jobs: context.host.jobs };
        kernel.resolve_config(&context.toolbox())?
    } else {
        plan.to_toml()
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What to make of an image, and where.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub formats: &'a [Format],
    pub config: &'a MachineConfig,
    pub out: &'a Path,
    pub offline: bool,
}

impl<'a> Order<'a> {
    /// Formats in a folder, without a machine config.
    pub(crate) fn plain(formats: &'a [Format], out: &'a Path) -> Self {
        static NO_CONFIG: MachineConfig = MachineConfig::NONE;
        Self { formats, config: &NO_CONFIG, out, offline: false }
    }
}

/// Builds for any command.
pub(crate) fn build(context: &Context, image: &ImageName, arch: Arch, order: &Order<'_>) -> Result<Built> {
    sandbox::check()?;
    let request = Request {
        catalog: &context.catalog,
        lock: &context.lock,
        image,
        arch,
        formats: order.formats,
        config: order.config,
        out: order.out,
        jobs: context.host.jobs,
        cargo: &context.host.cargo,
        offline: order.offline,
        builder: own_digest()?,
    };
    Ok(build::build(&request, &context.toolbox())?)
}

/// The formats asked for or else these, each once, in the order they are written.
pub(crate) fn formats(names: &[String], default: &[Format]) -> Result<Vec<Format>> {
    if names.is_empty() {
        return Ok(default.to_vec());
    }
    let mut formats = names.iter().map(|name| name.parse()).collect::<Result<Vec<Format>, _>>()?;
    formats.sort();
    formats.dedup();
    Ok(formats)
}
