//! `bench`: the figures that people feel: build times, sizes, virtual boot time and memory, each with its ratio to the
//! last run. It measures by starting this program, so that the figures are those of a command that a person types.

mod host;
mod identity;
mod packages;
mod pairs;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result};
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::clock;
use lepton_builder::cpu::thread_cpu;
use lepton_builder::name::ImageName;
use lepton_builder::process::Process;
use lepton_builder::progress::millis;
use lepton_builder::scratch::Scratch;
use lepton_builder::times::{self, Figure, Unit};

use crate::cli::{BenchOptions, Cli};
use crate::containers;
use crate::context::{CommandResult, Context};
use crate::image::{self, Order};
use crate::repro;
use crate::test;

/// Where the measured artifacts lie.
const OUT: &str = "out/bench";
/// The file of PID 1 that is changed.
const CHANGED: &str = "init/src/main.rs";

/// `cargo xtask bench`.
pub(crate) fn bench(options: &BenchOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    if options.containers {
        let figures = containers::bench(&context)?;
        let before = times::last_bench(&context.store, containers::NAME);
        times::record_bench(&context.store, containers::NAME, &figures)?;
        print(&figures, &before)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.identity {
        let pairs = identity::compare(&context)?;
        let figures: Vec<Figure> = pairs.iter().flat_map(|pair| pair.figures(identity::OTHER)).collect();
        let before = times::last_bench(&context.store, identity::NAME);
        times::record_bench(&context.store, identity::NAME, &figures)?;
        pairs::print(identity::OTHER, &pairs, &before, &mut std::io::stdout())?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.host {
        let (pairs, mut figures) = host::measure(&context)?;
        let before = times::last_bench(&context.store, host::NAME);
        pairs::print(host::OTHER, &pairs, &before, &mut std::io::stdout())?;
        print(&figures, &before)?;
        figures.extend(pairs.iter().flat_map(|pair| pair.figures(host::OTHER)));
        times::record_bench(&context.store, host::NAME, &figures)?;
        return Ok(ExitCode::SUCCESS);
    }
    let target = &options.target;
    let (image, arch) = context.target(target)?;
    if options.packages {
        let name = format!("packages-{image}-{arch}");
        let figures = packages::sizes(&context, &image, arch)?;
        let before = times::last_bench(&context.store, &name);
        times::record_bench(&context.store, &name, &figures)?;
        print(&figures, &before)?;
        return Ok(ExitCode::SUCCESS);
    }
    let out = context.catalog.root().join(OUT);
    // Whatever must be compiled is compiled here, and not measured.
    let built = image::build(&context, &image, arch, &Order::plain(&Format::ALL, &out))?;
    let stem = built.locked.stem();
    let mut figures = Vec::new();
    if let Some(cold) = times::last_cold(&context.store, &stem) {
        add_time(&mut figures, "last cold build", cold.wall_ms, cold.cpu_ms);
        for step in cold.steps.iter().filter(|step| step.wall_ms >= 1000) {
            add_time(&mut figures, &format!("  {}", step.name), step.wall_ms, step.cpu_ms);
        }
    }
    figures.extend(warm_builds(&context, &image, arch, &out)?);
    figures
        .extend(built.files.iter().map(|(name, facts)| Figure::new(name.clone(), facts.size, Unit::Bytes)));
    let ready = lepton_boot_tests::measure(&test::boot_context(&context, &built, &out)?)?;
    figures.push(Figure::new("kernel start to PID 1, virtual", ready.kernel_ms, Unit::Milliseconds));
    figures.push(Figure::new("kernel start to ready, virtual", ready.ready_ms, Unit::Milliseconds));
    figures.extend(ready.mem_used_kb.map(|used| Figure::new("memory used at ready", used, Unit::Kibibytes)));
    let before = times::last_bench(&context.store, &stem);
    times::record_bench(&context.store, &stem, &figures)?;
    print(&figures, &before)?;
    Ok(ExitCode::SUCCESS)
}

/// What people wait for again and again, with everything compiled.
fn warm_builds(context: &Context, image: &ImageName, arch: Arch, out: &Path) -> Result<Vec<Figure>> {
    let root = context.catalog.root();
    let all = Format::ALL.map(Format::name).join(",");
    let work =
        Scratch::new_in(&root.join("out"), ".lepton-bench-").context("cannot make a folder in out/")?;
    let mut figures = Vec::new();
    let mut measure = |name: &str, repo: &Path, formats: &str, out: &Path| {
        let (started, cpu) = (Instant::now(), thread_cpu());
        let mut build = Process::new("/proc/self/exe").inherit_env().args(["--quiet", "--repo"]).arg(repo);
        build = build.args(["image", image.as_str(), "--arch", arch.name(), "--format", formats, "--out"]);
        build.arg(out).env("CARGO", &context.host.cargo).run(|_| {})?;
        add_time(&mut figures, name, millis(started.elapsed()), millis(thread_cpu() - cpu));
        Ok::<_, anyhow::Error>(())
    };
    measure("nothing changed", root, &all, out)?;
    measure("every format again, everything compiled", root, &all, &work.path().join("again"))?;
    let repo = work.path().join("repo");
    repro::copy_repo(root, &repo)?;
    // A line that no build has seen, else its result would be in the store.
    let path = repo.join(CHANGED);
    let change = |path: &Path| {
        let mut file = OpenOptions::new().append(true).open(path)?;
        writeln!(file, "// {}", clock::now())
    };
    if path.is_file() {
        change(&path).with_context(|| format!("cannot change {}", path.display()))?;
        measure("one line changed in PID 1, to a new ISO", &repo, "iso", &work.path().join("changed"))?;
    }
    // The scratch folder goes with everything in it.
    fs::remove_dir_all(&repo).context("cannot remove the copy of the repository")?;
    Ok(figures)
}

fn add_time(figures: &mut Vec<Figure>, name: &str, wall_ms: u64, cpu_ms: u64) {
    figures.push(Figure::new(name, wall_ms, Unit::Milliseconds));
    figures.push(Figure::new(format!("{name}, CPU"), cpu_ms, Unit::Milliseconds));
}

/// The table: figure, value, and how many times the last value it is.
fn print(figures: &[Figure], before: &[Figure]) -> Result<()> {
    let width = figures.iter().map(|figure| figure.name.chars().count()).max().unwrap_or(0);
    let mut stdout = std::io::stdout();
    for figure in figures {
        let last = before.iter().find(|last| last.name == figure.name && last.unit == figure.unit);
        let ratio = match last.and_then(|last| ratio(figure.value, last.value)) {
            Some(text) => text,
            None => "new".to_owned(),
        };
        let value = with_unit(figure.value, figure.unit);
        writeln!(stdout, "{:width$}  {value:>18}  {ratio:>6}", figure.name)?;
    }
    Ok(())
}

/// A value for people.
fn with_unit(value: u64, unit: Unit) -> String {
    match unit {
        Unit::Bytes => format!("{value} bytes"),
        Unit::Microseconds => format!("{value} µs"),
        Unit::Kibibytes => format!("{value} KiB"),
        Unit::Milliseconds if value >= 10_000 => format!("{}.{} s", value / 1000, value % 1000 / 100),
        Unit::Milliseconds => format!("{value} ms"),
        Unit::PerSecond => format!("{value}/s"),
        Unit::Count => value.to_string(),
    }
}

/// `1.02` for a value that grew by two per cent; nothing where there is nothing to compare with.
fn ratio(now: u64, last: u64) -> Option<String> {
    let hundredths = (now.checked_mul(100)?.checked_add(last / 2)?).checked_div(last)?;
    Some(format!("{}.{:02}", hundredths / 100, hundredths % 100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_rounded() {
        for (now, last, text) in
            [(100, 100, "1.00"), (102, 100, "1.02"), (2, 3, "0.67"), (12345, 1000, "12.35")]
        {
            assert_eq!(ratio(now, last).unwrap(), text);
        }
        assert_eq!(ratio(1, 0), None);
    }
}
