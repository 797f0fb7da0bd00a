//! The runner with tests that start nothing.

use std::path::PathBuf;

use super::*;
use crate::context::{Budgets, Goldens};

const FAKES: &[Test] = &[
    Test { name: "raw-good", arches: &Arch::ALL, when: When::Always, peers: &[], run: |_| Ok(()) },
    Test {
        name: "raw-bad",
        arches: &[Arch::X86_64],
        when: When::Always,
        peers: &[],
        run: |_| Err(TestError::NotHere("no such device".to_owned())),
    },
    Test { name: "iso-good", arches: &[Arch::Aarch64], when: When::Always, peers: &[], run: |_| Ok(()) },
    Test { name: "raw-slow", arches: &Arch::ALL, when: When::All, peers: &[], run: |_| Ok(()) },
];

fn context(arch: Arch) -> Context {
    Context {
        artifacts: PathBuf::new(),
        stem: String::new(),
        arch,
        tools: PathBuf::new(),
        cmdline: String::new(),
        budgets: Budgets {
            ready_ms: 0,
            ready_percent_of_start: None,
            mem_used_kb: 0,
            kernel_bytes: 0,
            uki_bytes: 0,
        },
        limit: Duration::ZERO,
        root_listing: String::new(),
        kernel_config: PathBuf::new(),
        goldens: Goldens::Compare,
        cpus: 1,
        memory_mib: 1,
        peers: std::collections::BTreeMap::new(),
        hardening: lepton_builder::hardening::Exceptions { list: Vec::new() },
        host_paths: Vec::new(),
    }
}

fn run_fakes(arch: Arch, names: &[&str], all: bool) -> (Summary, String) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    let mut out = Vec::new();
    let summary = run_tests(FAKES, &context(arch), &Selection { names, all }, &mut out).unwrap();
    (summary, String::from_utf8(out).unwrap())
}

#[test]
fn failures_are_told_at_the_end_and_fail_the_run() {
    let (summary, text) = run_fakes(Arch::X86_64, &[], false);
    assert_eq!(summary, Summary { passed: 1, failed: vec!["raw-bad"], left_out: vec!["raw-slow"] });
    assert!(!summary.is_success());
    let end = text.split_once("\n\n").unwrap().1;
    expect_test::expect![[r#"
        === raw-bad ===
        cannot run here: no such device

        1 passed, 1 failed
        failed: raw-bad
        only with --all: raw-slow
    "#]]
    .assert_eq(end);
}

#[test]
fn names_and_architecture_select() {
    let (summary, _) = run_fakes(Arch::Aarch64, &["iso", "slow"], true);
    assert_eq!(summary, Summary { passed: 2, failed: vec![], left_out: vec![] });
    assert!(summary.is_success());
}

#[test]
fn a_run_of_nothing_is_no_success() {
    let (summary, text) = run_fakes(Arch::X86_64, &["nonsense"], false);
    assert!(!summary.is_success());
    assert!(text.contains("0 passed, 0 failed"));
}

#[test]
fn every_test_has_a_name_of_its_own() {
    let mut names: Vec<_> = tests().iter().map(|test| test.name).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count);
}
