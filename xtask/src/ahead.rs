//! Compiles what later tests need while earlier ones run, with what those leave of the processors.
//!
//! Tests wait for clocks and for networks, and the last step of a program is compiled by one processor alone. What is
//! compiled here lies in the store when the tests come to it; what fails here fails there again, where it is told.

use std::thread;

use anyhow::Result;
use lepton_builder::arch::Arch;
use lepton_builder::build;
use lepton_builder::compile::kernel::KernelBuild;
use lepton_builder::kernel_config::WantedConfig;
use lepton_builder::name::ImageName;

use crate::cli::Cli;
use crate::context::Context;

/// The least that a thread can ask of the processors, which its children inherit.
const NICE: i32 = 19;

/// Compiles what these images are made of, in this order, in a thread that ends with the program. `progress` is that of
/// the caller, who says what happens.
pub(crate) fn start(cli: &Cli, caller: &Context, images: Vec<(ImageName, Arch)>) -> Result<()> {
    let context = Context { progress: caller.progress.clone(), ..Context::new(cli, false)? };
    thread::spawn(move || {
        // Without the right to be slower it is as fast as all else.
        let _ = rustix::process::setpriority_process(None, NICE);
        for (image, arch) in images {
            // The caller compiles it again, and tells why that fails.
            let _ = compile(&context, &image, arch);
        }
    });
    Ok(())
}

/// The kernel, PID 1 and the programs of an image, as far as the store lacks them.
fn compile(context: &Context, image: &ImageName, arch: Arch) -> Result<()> {
    let toolbox = context.toolbox();
    let plan = build::plan(&context.catalog, image, arch)?;
    let builds = context.program_builds(arch);
    builds.init().output(&toolbox)?;
    builds.outputs(&plan, &toolbox)?;
    let wanted = WantedConfig::load(context.catalog.root(), &plan.kernel, arch)?;
    KernelBuild { spec: &plan.kernel, wanted: &wanted, arch, jobs: context.host.jobs }.output(&toolbox)?;
    Ok(())
}
