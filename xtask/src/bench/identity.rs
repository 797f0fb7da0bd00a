//! Our identity agent beside SPIRE's on this machine: with a SPIRE server, a thousand workloads each, and the same clients,
//! which take turns. The measuring is in `packages/identity/examples/identity-bench`.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lepton_builder::compile::guest::{GuestBuild, GuestProgram};
use lepton_builder::fetch::Source;
use lepton_builder::process::Process;
use lepton_builder::times::{Figure, Unit};

use super::{ratio, with_unit};
use crate::context::Context;
use crate::peers;

/// What `bench` calls its figures.
pub(super) const NAME: &str = "identity";
/// The agent by itself. In an image it is one of the names of `lepton-multi-call`, whose size says nothing of it.
const AGENT: GuestProgram<'static> = GuestProgram { folder: "packages/identity", binary: "identity" };
/// What it is compared with.
const OTHER: &str = "spire-agent";

/// One thing that was measured of both.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pair {
    name: String,
    ours: u64,
    other: u64,
    unit: Unit,
}

impl Pair {
    /// As they are remembered.
    pub(super) fn figures(&self) -> [Figure; 2] {
        let figure = |of: &str, value| Figure::new(format!("{}, {of}", self.name), value, self.unit);
        [figure("lepton", self.ours), figure(OTHER, self.other)]
    }

    /// Reads `NAME<tab>OURS<tab>OTHER'S<tab>UNIT`.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split('\t');
        let (name, ours, other, unit) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let unit = match unit {
            "KiB" => Unit::Kibibytes,
            "ms" => Unit::Milliseconds,
            "µs" => Unit::Microseconds,
            "a second" => Unit::PerSecond,
            "workloads" => Unit::Count,
            _ => return None,
        };
        Some(Self { name: name.to_owned(), ours: ours.parse().ok()?, other: other.parse().ok()?, unit })
    }
}

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

/// The table: ours, the other's, how many times the other's ours is, and how many times our last one.
pub(super) fn print(pairs: &[Pair], before: &[Figure], out: &mut impl Write) -> io::Result<()> {
    let width = pairs.iter().map(|pair| pair.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{:width$}  {:>16}  {OTHER:>16}  {:>6}  {:>6}", "", "lepton", "ratio", "last")?;
    for pair in pairs {
        let [ours, _] = pair.figures();
        let last = before.iter().find(|last| last.name == ours.name && last.unit == ours.unit);
        let last = last.and_then(|last| ratio(ours.value, last.value)).unwrap_or_else(|| "new".to_owned());
        // Nothing is so many times nothing.
        let other = ratio(pair.ours, pair.other).unwrap_or_else(|| "-".to_owned());
        let (ours, others) = (with_unit(pair.ours, pair.unit), with_unit(pair.other, pair.unit));
        writeln!(out, "{:width$}  {ours:>16}  {others:>16}  {other:>6}  {last:>6}", pair.name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read() {
        let pair = Pair::parse("one fetch, median\t150\t600\tµs").unwrap();
        assert_eq!((pair.name.as_str(), pair.ours, pair.other), ("one fetch, median", 150, 600));
        let names = pair.figures().map(|figure| figure.name);
        assert_eq!(names, ["one fetch, median, lepton", "one fetch, median, spire-agent"]);
        for bad in ["cannot measure: no", "a\t1\tµs", "a\t1\tb\tµs", "a\t1\t2\tyears"] {
            assert_eq!(Pair::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_table_has_ratios() {
        let pairs =
            ["rate\t3000\t1000\ta second", "gaps\t0\t0\tworkloads"].map(|line| Pair::parse(line).unwrap());
        let before = [Figure::new("rate, lepton", 2000, Unit::PerSecond)];
        let mut out = Vec::new();
        print(&pairs, &before, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["lepton", "spire-agent", "ratio", "last"]);
        assert_eq!(lines[1], ["rate", "3000/s", "1000/s", "3.00", "1.50"]);
        assert_eq!(lines[2], ["gaps", "0", "0", "-", "new"]);
    }
}
