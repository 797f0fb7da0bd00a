//! The container runtime on this machine itself, with the programs that images have: its tests, and its figures.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use lepton_builder::build;
use lepton_builder::plan::Plan;
use lepton_builder::process::Process;
use lepton_builder::scratch::Scratch;
use lepton_builder::times::{Figure, Unit};

use crate::context::Context;
use crate::peers;

/// An image that has the runtime, and its packages.
const IMAGE: &str = "runtime-tests";
const RUNTIME: &str = "runtime";
const PLUGINS: &str = "cni-plugins";
/// The tool set with a registry, crun, runc, zstd and busybox.
const TOOLS: &str = "containers";
/// What `bench` calls its figures.
pub(crate) const NAME: &str = "containers";

/// What tests and figures are made with.
struct Parts {
    /// The runtime's programs by their names, for this machine's architecture.
    programs: Scratch,
    /// CNI plugins by their names.
    plugins: Scratch,
    tools: PathBuf,
}

impl Parts {
    fn make(context: &Context) -> Result<Self> {
        let toolbox = context.toolbox();
        let plan = build::plan(&context.catalog, &IMAGE.parse()?, context.host.arch)?;
        let builds = context.program_builds(context.host.arch);
        let compiled = builds.compiled(&plan, &toolbox)?;
        let compiled = compiled.into_iter().map(|one| (one.package.to_string(), one.output.dir().to_owned()));
        let compiled: BTreeMap<_, _> = compiled.collect();
        let programs = programs(&plan, RUNTIME, &compiled, context)?;
        let plugins = programs_of_links(&plan, PLUGINS, &compiled, context)?;
        Ok(Self { programs, plugins, tools: toolbox.tree(TOOLS)?.root().to_owned() })
    }

    /// cargo, told where everything is.
    fn cargo(&self, context: &Context) -> Result<Process> {
        Ok(Process::new(&context.host.cargo)
            .inherit_env()
            .cwd(context.catalog.root())
            .env("LEPTON_TEST_PROGRAMS", self.programs.path())
            .env("LEPTON_TEST_CNI", self.plugins.path())
            .env("LEPTON_TEST_BUSYBOX", self.tools.join("usr/bin/busybox"))
            .env("LEPTON_BENCH_TREE", &self.tools))
    }
}

/// A folder with the programs of a package under the names that an image has for them, its own and those it links to.
fn programs(
    plan: &Plan,
    name: &str,
    compiled: &BTreeMap<String, PathBuf>,
    context: &Context,
) -> Result<Scratch> {
    let folder = programs_of_links(plan, name, compiled, context)?;
    let own = compiled.get(name).with_context(|| format!("image {IMAGE} has no package {name}"))?;
    for file in walkdir::WalkDir::new(own).min_depth(1).max_depth(1).sort_by_file_name() {
        let file = file?;
        symlink(file.path(), folder.path().join(file.file_name()))?;
    }
    Ok(folder)
}

/// A folder with the links alone; a link leads to a program of its package, or of one that this needs.
fn programs_of_links(
    plan: &Plan,
    name: &str,
    compiled: &BTreeMap<String, PathBuf>,
    context: &Context,
) -> Result<Scratch> {
    let package = plan.packages.iter().find(|package| package.name.as_str() == name);
    let package = package.with_context(|| format!("image {IMAGE} has no package {name}"))?;
    let folder = context.store.scratch(name)?;
    for (path, program) in &package.links {
        let made = compiled.get(name).into_iter().chain(compiled.values()).map(|folder| folder.join(program));
        let made = made.into_iter().find(|path| path.is_file());
        let made = made.with_context(|| format!("no package of image {IMAGE} has the program {program}"))?;
        symlink(made, folder.path().join(Path::new(path).file_name().unwrap_or_default()))?;
    }
    Ok(folder)
}

/// Runs the tests of the runtime that need other people's programs.
pub(crate) fn test(context: &Context) -> Result<()> {
    let parts = Parts::make(context)?;
    context.progress.line("== container runtime, on this machine's kernel");
    let words = ["test", "--quiet", "--workspace", "--test", "native"];
    let client = peers::cri_client(context)?;
    if !parts.cargo(context)?.args(words).env("LEPTON_TEST_CRI_CLIENT", client).run_attached()?.success() {
        bail!("the tests of the container runtime failed");
    }
    Ok(())
}

/// Measures the runtime beside others.
pub(crate) fn bench(context: &Context) -> Result<Vec<Figure>> {
    let parts = Parts::make(context)?;
    let mut figures = Vec::new();
    let mut unknown = None;
    let words = ["run", "--quiet", "--package", "lepton-runtime", "--example", "runtime-bench"];
    parts.cargo(context)?.args(words).run(|line| match figure(line) {
        Some(figure) => figures.push(figure),
        None => unknown = Some(line.to_owned()),
    })?;
    match unknown {
        Some(line) if figures.is_empty() => bail!("nothing was measured: {line}"),
        _ => Ok(figures),
    }
}

/// `NAME<tab>VALUE<tab>UNIT`
pub(crate) fn figure(line: &str) -> Option<Figure> {
    let mut words = line.split('\t');
    let (name, value, unit) = (words.next()?, words.next()?.parse().ok()?, words.next()?);
    let unit = match unit {
        "bytes" => Unit::Bytes,
        "KiB" => Unit::Kibibytes,
        "ms" => Unit::Milliseconds,
        "µs" => Unit::Microseconds,
        _ => return None,
    };
    Some(Figure::new(name, value, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read() {
        let read = figure("  pull\t12\tms").unwrap();
        assert_eq!((read.name.as_str(), read.value, read.unit), ("  pull", 12, Unit::Milliseconds));
        assert!(figure("cannot measure: no").is_none());
        assert!(figure("pull\tmany\tms").is_none());
    }
}
