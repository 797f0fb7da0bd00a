//! The sender of logs beside rsyslog on this machine: the same file to the same receiver, in turns; and what the management API
//! costs. The measuring is in `packages/host/logs/examples/versus` and `packages/host/examples/api-bench.rs`.

use std::fs;

use anyhow::{Context as _, Result, bail};
use lepton_builder::compile::guest::{GuestBuild, GuestProgram};
use lepton_builder::fetch::Source;
use lepton_builder::process::Process;
use lepton_builder::times::{Figure, Unit};

use super::pairs::Pair;
use crate::containers;
use crate::context::Context;
use crate::test;

/// What `bench` calls its figures.
pub(super) const NAME: &str = "host";
/// What the sender is compared with.
pub(super) const OTHER: &str = "rsyslogd";
/// Both as programs of their own, as for an image.
const API: GuestProgram<'static> = GuestProgram { folder: "packages/host", binary: "lepton-host" };
const LOGS: GuestProgram<'static> = GuestProgram { folder: "packages/host/logs", binary: "lepton-logs" };

/// Measures the sender beside rsyslog, and the API alone.
pub(super) fn measure(context: &Context) -> Result<(Vec<Pair>, Vec<Figure>)> {
    let build = GuestBuild {
        repo: context.catalog.root(),
        name: NAME,
        programs: &[API, LOGS],
        arch: context.host.arch,
        cargo: &context.host.cargo,
        offline: matches!(context.source, Source::Offline),
    };
    let programs = build.output(&context.toolbox())?.dir().to_owned();
    let tree = context.toolbox().tree(test::MONITORING)?;
    let cargo = || {
        Process::new(&context.host.cargo)
            .inherit_env()
            .cwd(context.catalog.root())
            .env("LEPTON_BENCH_HOST", programs.join(API.binary))
            .env("LEPTON_BENCH_LOGS", programs.join(LOGS.binary))
            .env("LEPTON_TEST_MONITORING", tree.root())
            // A client that is slow itself would hide what the service is like.
            .args(["run", "--quiet", "--release"])
    };
    let (mut pairs, mut figures, mut unknown) = (Vec::new(), Vec::new(), None);
    let step = context.progress.step("senders of logs side by side", None);
    cargo().args(["--package", "lepton-logs", "--example", "versus"]).run(|line| {
        step.advance(1);
        match Pair::parse(line) {
            Some(pair) => pairs.push(pair),
            None => unknown = Some(line.to_owned()),
        }
    })?;
    step.finish();
    for program in [API, LOGS] {
        let path = programs.join(program.binary);
        let size = fs::metadata(&path).with_context(|| format!("cannot look at {}", path.display()))?.len();
        figures.push(Figure::new(format!("size of {}", program.binary), size, Unit::Bytes));
    }
    cargo().args(["--package", "lepton-host", "--example", "api-bench"]).run(
        |line| match containers::figure(line) {
            Some(figure) => figures.push(figure),
            None => unknown = Some(line.to_owned()),
        },
    )?;
    match unknown {
        Some(line) => bail!("not all was measured: {line}"),
        None => Ok((pairs, figures)),
    }
}
