//! `cluster conformance`: Kubernetes' own specs for nodes, against the cluster that `cluster up` runs.
//!
//! A call takes a batch of the specs without a result, and notes each result as soon as it is known, so that a call that
//! is interrupted loses nothing but the specs that are running.

pub(crate) mod doc;
mod images;
mod record;
mod suite;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lepton_boot_tests::cluster::{REGISTRY, Running};
use lepton_builder::arch::Arch;

use crate::cli::{Cli, ConformanceOptions};
use crate::cluster::{LAYOUTS, OUT};
use crate::context::{CommandResult, Context};
use crate::peers;
use record::{Outcome, Record};
use suite::{Line, Run, Suite};

/// Time between two looks at what is known.
const BETWEEN: Duration = Duration::from_secs(1);
/// Specs beside each other, in tests.
const AT_ONCE: usize = 4;
/// Specs that together use most of what a node does.
const VARIETY_FILE: &str = "images/boot-tests/conformance-variety.txt";

/// `cargo xtask cluster conformance`.
pub(crate) fn conformance(options: &ConformanceOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let repo = context.catalog.root().to_owned();
    let out = repo.join(OUT);
    let arch = options.arch.as_deref().map_or(Ok(context.host.arch), str::parse)?;
    let judge = Judge::make(&context, arch, &out)?;
    let mut record = Record::load(&repo)?;
    record.follow(&judge.names());
    let asked = if options.variety { variety(&repo)? } else { options.names.clone() };
    let batch = record.next(&asked, options.specs);
    if batch.is_empty() {
        bail!("no spec is left without a result, or none has such a name");
    }
    if options.list {
        for name in &batch {
            writeln!(std::io::stdout(), "{name}")?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let cluster = Running::find(&out)
        .context("no cluster runs\nhint: start one in another terminal: cargo xtask cluster up --nodes 1")?;
    let failed = judge.run(&cluster, &batch, options.at_once, &mut |line| {
        let (result, reason) = line.outcome();
        record.note(&line.name, result, reason.clone());
        let word = word(result);
        context.progress.line(&format!("{word} in {:.0} s: {}", line.seconds, line.name));
        if result != Outcome::Passed {
            context.progress.line(&format!("    {reason}"));
        }
        record.save(&repo)
    })?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the specs that use most of what a node does against the cluster that this process runs; all have to pass.
pub(crate) fn try_variety(context: &Context, arch: Arch) -> Result<()> {
    let out = context.catalog.root().join(OUT);
    let judge = Judge::make(context, arch, &out)?;
    let cluster = Running::find(&out).context("the cluster has ended")?;
    let mut names = Vec::new();
    for wanted in variety(context.catalog.root())? {
        let found = judge.specs.iter().find(|(name, _)| name.contains(&wanted));
        names.push(found.with_context(|| format!("{VARIETY_FILE}: no spec is called {wanted}"))?.0.clone());
    }
    let mut wrong = Vec::new();
    judge.run(&cluster, &names, AT_ONCE, &mut |line| {
        let (result, reason) = line.outcome();
        context.progress.line(&format!("{}: {}", word(result), line.name));
        if result != Outcome::Passed {
            wrong.push(format!("{}: {reason}", line.name));
        }
        Ok(())
    })?;
    if !wrong.is_empty() {
        bail!("{} of Kubernetes' specs did not pass:\n{}", wrong.len(), wrong.join("\n"));
    }
    Ok(())
}

fn word(result: Outcome) -> &'static str {
    match result {
        Outcome::Passed => "passed",
        Outcome::Failed => "FAILED",
        Outcome::NotRun => "not run",
    }
}

/// The names in the file of specs that use most of what a node does.
fn variety(repo: &Path) -> Result<Vec<String>> {
    let path = repo.join(VARIETY_FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {VARIETY_FILE}"))?;
    Ok(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect())
}

/// The suite, its images, and its specs.
#[derive(Debug)]
struct Judge {
    program: PathBuf,
    registries: PathBuf,
    out: PathBuf,
    arch: Arch,
    /// Names, and whether each must run alone.
    specs: Vec<(String, bool)>,
}

impl Judge {
    /// Compiles what is missing, and gives the images to the registry that serves `out`.
    fn make(context: &Context, arch: Arch, out: &Path) -> Result<Self> {
        let programs = peers::test_programs(context, arch)?;
        let files = out.join("conformance");
        let specs = suite::list(&programs.e2e, &files)?;
        images::write(context, &programs, arch, REGISTRY, &out.join(LAYOUTS).join("conformance"))?;
        let registries = files.join("registries.yaml");
        std::fs::write(&registries, images::registries(REGISTRY))
            .with_context(|| format!("cannot write {}", registries.display()))?;
        Ok(Self { program: programs.e2e, registries, out: files, arch, specs })
    }

    fn names(&self) -> Vec<String> {
        self.specs.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Runs specs, `at_once` of them beside each other where they allow it; `note` is told each outcome. Gives how many
    /// failed.
    fn run(
        &self,
        cluster: &Running,
        batch: &[String],
        at_once: usize,
        note: &mut dyn FnMut(&Line) -> Result<()>,
    ) -> Result<usize> {
        let is_alone = |name: &String| self.specs.iter().any(|(spec, alone)| spec == name && *alone);
        let (alone, beside): (Vec<String>, Vec<String>) = batch.iter().cloned().partition(is_alone);
        let mut shares: Vec<Vec<String>> = vec![Vec::new(); at_once.max(1)];
        let count = shares.len();
        for (number, name) in beside.into_iter().enumerate() {
            shares[number % count].push(name);
        }
        let mut failed = self.run_shares(cluster, &shares, note)?;
        failed += self.run_shares(cluster, &[alone], note)?;
        Ok(failed)
    }

    /// Runs the program once for each share, all at the same time.
    fn run_shares(
        &self,
        cluster: &Running,
        shares: &[Vec<String>],
        note: &mut dyn FnMut(&Line) -> Result<()>,
    ) -> Result<usize> {
        let suite = Suite { registries: &self.registries, out: &self.out, arch: self.arch };
        let filled = shares.iter().enumerate().filter(|(_, share)| !share.is_empty());
        let runs = filled
            .map(|(number, share)| {
                let process = cluster.process(&[self.program.to_string_lossy().into_owned()]);
                suite.run(&format!("run-{}", number + 1), share, process)
            })
            .collect::<Result<Vec<Run>>>()?;
        let mut seen = vec![0; runs.len()];
        let mut failed = 0;
        let mut look = |seen: &mut Vec<usize>| -> Result<()> {
            for (run, seen) in runs.iter().zip(seen) {
                for line in run.lines()?.iter().skip(*seen) {
                    *seen += 1;
                    failed += usize::from(line.outcome().0 == Outcome::Failed);
                    note(line)?;
                }
            }
            Ok(())
        };
        thread::scope(|scope| {
            let threads: Vec<_> = runs.iter().map(|run| scope.spawn(|| run.wait())).collect();
            while !threads.iter().all(thread::ScopedJoinHandle::is_finished) {
                thread::sleep(BETWEEN);
                look(&mut seen)?;
            }
            look(&mut seen)?;
            threads.into_iter().try_for_each(|thread| {
                thread.join().unwrap_or_else(|_| bail!("a thread of this program panicked"))
            })
        })?;
        let shares = shares.iter().filter(|share| !share.is_empty());
        for ((run, share), seen) in runs.iter().zip(shares).zip(seen) {
            if seen < share.len() {
                bail!(
                    "the suite ended after {seen} of {} specs; its log is {}",
                    share.len(),
                    run.log.display()
                );
            }
        }
        Ok(failed)
    }
}
