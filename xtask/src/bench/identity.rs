//! Our identity agent beside SPIRE's on this machine: with a SPIRE server, a thousand workloads each, and the same clients,
//! which take turns. The measuring is in `packages/identity/examples/identity-bench`.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lepton_builder::compile::guest::{GuestBuild, GuestProgram};
use lepton_builder::fetch::Source;
use lepton_builder::process::Process;
use lepton_builder::times::Unit;

use super::pairs::Pair;
use crate::context::Context;
use crate::peers;

/// What `bench` calls its figures.
pub(super) const NAME: &str = "identity";
/// The agent by itself. In an image it is one of the names of `lepton-multi-call`, whose size says nothing of it.
const AGENT: GuestProgram<'static> = GuestProgram { folder: "packages/identity", binary: "identity" };
/// What it is compared with.
pub(super) const OTHER: &str = "spire-agent";

/// Measures both.
pub(super) fn compare(context: &Context) -> Result<Vec<Pair>> {
    let build = GuestBuild {
        repo: context.catalog.root(),
        name: NAME,
        programs: &[AGENT],
        arch: context.host.arch,
        cargo: &context.host.cargo,
        offline: matches!(context.source, Source::Offline),
    };
    let ours = build.output(&context.toolbox())?.dir().join(AGENT.binary);
    let spire = peers::spire(context)?;
    let size = |path: &Path| -> Result<u64> {
        let metadata = fs::metadata(path).with_context(|| format!("cannot look at {}", path.display()))?;
        Ok(metadata.len())
    };
    let mut pairs = vec![Pair {
        name: "size of the program".to_owned(),
        ours: size(&ours)?,
        other: size(&spire.join(OTHER))?,
        unit: Unit::Bytes,
    }];
    let step = context.progress.step("identity agents side by side", None);
    let mut unknown = None;
    Process::new(&context.host.cargo)
        .inherit_env()
        .cwd(context.catalog.root())
        // Clients that are slow themselves would hide what the agents are like.
        .args(["run", "--quiet", "--release", "--package", "lepton-identity", "--example", "identity-bench"])
        .env("LEPTON_BENCH_AGENT", &ours)
        .env("LEPTON_TEST_SPIRE", &spire)
        .run(|line| {
            step.advance(1);
            match Pair::parse(line) {
                Some(pair) => pairs.push(pair),
                None => unknown = Some(line.to_owned()),
            }
        })?;
    step.finish();
    match unknown {
        Some(line) if pairs.len() < 2 => bail!("nothing was measured: {line}"),
        _ => Ok(pairs),
    }
}
