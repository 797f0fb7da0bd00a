//! Runs boot tests in parallel and says how each went.
//!
//! Tests are values, not `#[test]` functions: the sandbox starts this program again, which the standard test
//! program does not survive.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use lepton_builder::arch::Arch;

use crate::context::{Context, TestError};
use crate::{boots, judges};

/// Machines that run at the same time; each keeps one core busy.
const WORKERS: usize = 2;

/// When a test runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Always.
    Always,
    /// Only when all tests are asked for.
    All,
}

/// One boot test.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Test {
    pub(crate) name: &'static str,
    pub(crate) arches: &'static [Arch],
    pub(crate) when: When,
    /// What it needs beside the tool tree.
    pub(crate) peers: &'static [Peer],
    pub(crate) run: fn(&Context) -> Result<(), TestError>,
}

impl Test {
    /// The same test with programs that it needs.
    pub(crate) const fn with(self, peers: &'static [Peer]) -> Self {
        Self { peers, ..self }
    }
}

/// Programs of other people that no Debian package has, and other images: made only when a chosen test needs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A folder for `PYTHONPATH` with the wheels of `images/boot-tests/python/requirements.txt`.
    Python,
    /// A folder with `govc` and `vcsim`, for the machine that runs the tests.
    Govmomi,
    /// A folder with `lepton-remote`, the command line for this machine.
    CommandLine,
    /// The network boot folder of the image `service-tests`, for the architecture that is tested.
    ServiceTests,
    /// The same of the image `runtime-tests`.
    RuntimeTests,
    /// The same of the image `node-tests`.
    NodeTests,
    /// The same of the image `debug`.
    Debug,
}

/// Which tests to run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only tests whose name contains one of these; empty means every test.
    pub names: Vec<String>,
    /// Also those that are kept for `--all`.
    pub all: bool,
}

/// How a run of tests went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Number of tests that passed.
    pub passed: usize,
    /// Names of those that failed, in the order of the list.
    pub failed: Vec<&'static str>,
    /// Names of those that were left out because they are kept for `--all`.
    pub left_out: Vec<&'static str>,
}

impl Summary {
    /// Whether at least one test ran and none failed.
    pub fn is_success(&self) -> bool {
        self.passed > 0 && self.failed.is_empty()
    }
}

/// Names of the tests that `selection` chooses for `arch`, and of those it leaves for `--all`.
pub fn list(arch: Arch, selection: &Selection) -> (Vec<&'static str>, Vec<&'static str>) {
    let tests = tests();
    let (chosen, left_out) = select(&tests, arch, selection);
    let names = |tests: Vec<&Test>| tests.into_iter().map(|test| test.name).collect();
    (names(chosen), names(left_out))
}

/// What the tests that `selection` chooses for `arch` need beside the tool tree.
pub fn peers(arch: Arch, selection: &Selection) -> BTreeSet<Peer> {
    let tests = tests();
    let (chosen, _) = select(&tests, arch, selection);
    chosen.into_iter().flat_map(|test| test.peers).copied().collect()
}

/// Runs the chosen tests on the artifacts of `context`; results go to `out` as they come, and what failed, with its
/// console, at the end.
pub fn run(context: &Context, selection: &Selection, out: &mut dyn Write) -> io::Result<Summary> {
    run_tests(&tests(), context, selection, out)
}

/// Judges first: what they refuse need not be booted to be seen.
fn tests() -> Vec<Test> {
    [judges::TESTS, boots::TESTS].concat()
}

fn run_tests(
    tests: &[Test],
    context: &Context,
    selection: &Selection,
    out: &mut dyn Write,
) -> io::Result<Summary> {
    let (chosen, left_out) = select(tests, context.arch, selection);
    let next = AtomicUsize::new(0);
    let (sender, results) = mpsc::channel();
    let mut failures = Vec::new();
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(chosen.len()) {
            let (sender, next, chosen) = (sender.clone(), &next, &chosen);
            scope.spawn(move || {
                while let Some(test) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let start = Instant::now();
                    let result = (test.run)(context);
                    // The receiver goes away first when the output cannot be written; the tests then end unseen.
                    let _ = sender.send((test.name, start.elapsed(), result));
                }
            });
        }
        drop(sender);
        report(&results, chosen.len(), &mut failures, out)
    })?;
    for (name, error) in &failures {
        writeln!(out, "\n=== {name} ===\n{}", chain(error))?;
    }
    let position = |name: &str| chosen.iter().position(|test| test.name == name);
    let mut failed: Vec<&'static str> = failures.iter().map(|(name, _)| *name).collect();
    failed.sort_by_key(|name| position(name));
    let left_out: Vec<&'static str> = left_out.into_iter().map(|test| test.name).collect();
    let summary = Summary { passed: chosen.len() - failed.len(), failed, left_out };
    write_summary(&summary, out)?;
    Ok(summary)
}

fn select<'t>(tests: &'t [Test], arch: Arch, selection: &Selection) -> (Vec<&'t Test>, Vec<&'t Test>) {
    let is_named = |test: &Test| {
        selection.names.is_empty() || selection.names.iter().any(|name| test.name.contains(name.as_str()))
    };
    tests
        .iter()
        .filter(|test| test.arches.contains(&arch) && is_named(test))
        .partition(|test| selection.all || test.when == When::Always)
}

type Outcome = (&'static str, Duration, Result<(), TestError>);

/// Writes one line per finished test.
fn report(
    results: &mpsc::Receiver<Outcome>,
    count: usize,
    failures: &mut Vec<(&'static str, TestError)>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for (index, (name, time, result)) in results.iter().enumerate() {
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        writeln!(out, "[{}/{count}] {word:6} {name:20} {:6.1} s", index + 1, time.as_secs_f64())?;
        out.flush()?;
        if let Err(error) = result {
            failures.push((name, error));
        }
    }
    Ok(())
}

fn write_summary(summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "\n{} passed, {} failed", summary.passed, summary.failed.len())?;
    if !summary.failed.is_empty() {
        writeln!(out, "failed: {}", summary.failed.join(" "))?;
    }
    if !summary.left_out.is_empty() {
        writeln!(out, "only with --all: {}", summary.left_out.join(" "))?;
    }
    Ok(())
}

/// An error with its causes.
fn chain(error: &TestError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, "\ncaused by: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
