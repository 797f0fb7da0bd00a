//! `test`: unit tests, then the image of this machine's architecture in every format, judged by other
//! people's tools and booted in QEMU.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use lepton_boot_tests as boot_tests;
use lepton_boot_tests::{Budgets, Selection};
use lepton_builder::artifact::Format;
use lepton_builder::build::Built;
use lepton_builder::process::Process;

use crate::cli::{Cli, Target, TestOptions};
use crate::context::{CommandResult, Context};
use crate::image::{self, Order};

/// Where the tested artifacts lie.
const OUT: &str = "out/test";
/// Longest real time of one boot: a boot takes 10 to 30 seconds in emulation, and machines may be slow.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
/// Tells tests that need real tools where the store is.
const STORE_VARIABLE: &str = "LEPTON_TEST_STORE";

/// `cargo xtask test`.
pub(crate) fn test(options: &TestOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    if options.names.is_empty() {
        context.progress.line("== unit tests");
        cargo(&context, &["test", "--quiet", "--workspace", "--exclude", "xtask"])?;
    }
    let target = Target { image: options.image.clone(), arch: options.arch.clone() };
    let (image, arch) = context.target(&target)?;
    context.progress.line(&format!("== {image} for {arch}, every format"));
    let out = context.catalog.root().join(OUT);
    let built = image::build(&context, &image, arch, &Order::plain(&Format::ALL, &out))?;
    if options.names.is_empty() {
        context.progress.line("== command line");
        cargo(&context, &["test", "--quiet", "--package", "xtask"])?;
    }
    context.progress.line("== artifacts");
    let selection = Selection { names: options.names.clone(), all: options.all };
    let summary =
        boot_tests::run(&boot_context(&context, &built, &out)?, &selection, &mut std::io::stderr())?;
    if !summary.is_success() {
        bail!("{} of the tests failed", summary.failed.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// What boots and judges are given.
pub(crate) fn boot_context(context: &Context, built: &Built, out: &Path) -> Result<boot_tests::Context> {
    let plan = built.locked.plan();
    let tools = context.toolbox().tree("test")?;
    Ok(boot_tests::Context {
        artifacts: out.to_owned(),
        stem: built.locked.stem(),
        arch: plan.arch,
        tools: tools.root().to_owned(),
        cmdline: plan.cmdline.clone(),
        budgets: Budgets { ready_ms: plan.budgets.ready_ms, mem_used_kb: plan.budgets.memory_at_ready_kib },
        limit: BOOT_LIMIT,
    })
}

fn cargo(context: &Context, args: &[&str]) -> Result<()> {
    let store = context.host.store.as_os_str();
    let process = Process::new(&context.host.cargo)
        .inherit_env()
        .cwd(context.catalog.root())
        .args(args)
        .env(STORE_VARIABLE, store);
    if !process.run_attached()?.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}
