//! `bench`: the figures that people feel: sizes, virtual boot time, memory, and the time of a build in
//! which nothing changed.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use lepton_builder::artifact::Format;

use crate::cli::{Cli, Target};
use crate::context::{CommandResult, Context};
use crate::image::{self, Order};
use crate::test;

/// Where the measured artifacts lie.
const OUT: &str = "out/bench";

/// `cargo xtask bench`.
pub(crate) fn bench(target: &Target, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let (image, arch) = context.target(target)?;
    let out = context.catalog.root().join(OUT);
    let first = Instant::now();
    let built = image::build(&context, &image, arch, &Order::plain(&Format::ALL, &out))?;
    let first = first.elapsed();
    let again = Instant::now();
    image::build(&context, &image, arch, &Order::plain(&Format::ALL, &out))?;
    let again = again.elapsed();
    let ready = lepton_boot_tests::measure(&test::boot_context(&context, &built, &out)?)?;

    let mut table: Vec<(String, String)> =
        built.files.iter().map(|(name, facts)| (name.clone(), format!("{} bytes", facts.size))).collect();
    let state = if built.unchanged { "nothing changed" } else { "something changed" };
    table.extend([
        (format!("build, {state}"), format!("{:.2} s", first.as_secs_f64())),
        ("build, nothing changed".to_owned(), format!("{:.2} s", again.as_secs_f64())),
        ("kernel start to PID 1, virtual".to_owned(), format!("{} ms", ready.kernel_ms)),
        ("kernel start to ready, virtual".to_owned(), format!("{} ms", ready.ready_ms)),
        ("memory used at ready".to_owned(), format!("{} KiB", ready.mem_used_kb.unwrap_or(0))),
    ]);
    let width = table.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut stdout = std::io::stdout();
    for (name, value) in table {
        writeln!(stdout, "{name:width$}  {value:>18}")?;
    }
    Ok(ExitCode::SUCCESS)
}
