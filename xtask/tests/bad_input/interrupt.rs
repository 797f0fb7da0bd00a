//! Ctrl-C and SIGTERM in the middle of long steps: exit code 130, nothing left, and no process left running.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use walkdir::WalkDir;

use crate::support::mirror::Answer;
use crate::support::tools::Scripts;
use crate::support::{Bench, listing, rest_of_errors, start};

/// Exit code of an interrupted command: 128 + SIGINT, whatever the signal was.
const INTERRUPTED: i32 = 130;
/// Moments of a build at which it is interrupted, one after the other.
const MOMENTS: u32 = 9;
/// How long anything may take here, on a machine that is busy with other things, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Starts a build, waits until it runs `tool`, interrupts it and checks what is left.
fn interrupt_at(bench: &Bench, tool: &str, signal: Signal) {
    let before = listing(&bench.out());
    let mut build = start(bench.image(&[]));
    let family = wait_for(&mut build, tool);
    let pid = i32::try_from(build.id()).expect("process numbers are small");
    kill(Pid::from_raw(pid), signal).expect("it is running");
    let status = build.wait().expect("it can be waited for");
    let text = rest_of_errors(&mut build);
    assert_eq!(status.code(), Some(INTERRUPTED), "{status}\n{text}");
    assert!(text.lines().any(|line| line == "interrupted"), "{text}");
    assert!(!text.contains("error"), "an interrupted build reports no error\n{text}");
    assert_eq!(listing(&bench.out()), before, "the output folder changed\n{text}");
    bench.assert_no_leftovers();
    let asked = Instant::now();
    // A process that was killed may take a moment to go.
    while let Some((pid, name)) = family.iter().find(|(pid, process)| processes().get(*pid) == Some(process))
    {
        assert!(asked.elapsed() < PATIENCE, "{name:?} (process {pid}) is still running");
        sleep(Duration::from_millis(20));
    }
}

/// Waits until `build` has a descendant with this name; gives all descendants.
fn wait_for(build: &mut Child, name: &str) -> BTreeMap<u32, Process> {
    let started = Instant::now();
    loop {
        let family = descendants(build.id());
        if family.values().any(|process| process.name == name) {
            return family;
        }
        let ended = build.try_wait().expect("it can be waited for");
        assert!(ended.is_none(), "the build ended before {name} ran\n{}", rest_of_errors(build));
        assert!(started.elapsed() < PATIENCE, "the build does not come to run {name}");
        sleep(Duration::from_millis(20));
    }
}

/// A process, told apart from a later one with the same number by its time of start.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Process {
    name: String,
    parent: u32,
    started: u64,
}

fn descendants(of: u32) -> BTreeMap<u32, Process> {
    let all = processes();
    let mut family: BTreeMap<u32, Process> = BTreeMap::new();
    loop {
        let is_new = |(pid, process): &(&u32, &Process)| {
            !family.contains_key(*pid) && (process.parent == of || family.contains_key(&process.parent))
        };
        let Some((pid, process)) = all.iter().find(is_new) else {
            return family;
        };
        family.insert(*pid, process.clone());
    }
}

/// Everything that runs now, zombies aside, from proc_pid_stat(5).
fn processes() -> BTreeMap<u32, Process> {
    let listed = WalkDir::new("/proc").min_depth(1).max_depth(1).into_iter().flatten();
    let process = |entry: walkdir::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let text = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = text.rsplit_once(')')?;
        let fields: Vec<&str> = tail.split_whitespace().collect();
        let name = head.split_once('(')?.1.to_owned();
        let process =
            Process { name, parent: fields.get(1)?.parse().ok()?, started: fields.get(19)?.parse().ok()? };
        (*fields.first()? != "Z").then_some((pid, process))
    };
    listed.filter_map(process).collect()
}

#[test]
fn while_downloading() {
    let bench = Bench::new();
    let pin = &bench.pins["linux-source-6.12"];
    bench.mirror.set(&pin.path, Answer::Stall(vec![0; 100_000]));
    interrupt_at(&bench, "http", Signal::SIGINT);
}

#[test]
fn while_a_tool_runs() {
    // So many files that removing them takes longer than the tool takes to die.
    let body = "i=0; while [ $i -lt 9999 ]; do echo partial > /work/$i; i=$((i + 1)); done; sleep 1000";
    let bench = Bench::with(Scripts::default().with("mkfs.erofs", body));
    interrupt_at(&bench, "sleep", Signal::SIGINT);
    // Locks and scratch folders of the first do not hinder the second.
    interrupt_at(&bench, "sleep", Signal::SIGTERM);
}

#[test]
fn while_a_tool_runs_that_ignores_signals() {
    let body = "trap '' INT TERM HUP; while :; do sleep 1000 & wait; done";
    let bench = Bench::with(Scripts::default().with("make", body));
    interrupt_at(&bench, "sleep", Signal::SIGINT);
}

#[test]
fn with_good_artifacts_in_place() {
    let bench = Bench::new();
    bench.build();
    bench.replace("images/tiny.toml", "As small as it gets", "Changed");
    bench.mirror.remove_all();
    // The next build needs a tool tree again, and its download hangs.
    fs::remove_dir_all(bench.store().join("trees")).expect("trees");
    let pin = &bench.pins["tools"];
    fs::remove_file(bench.store().join("blobs").join(pin.sha256.to_string())).expect("a blob");
    bench.mirror.set(&pin.path, Answer::Stall(vec![0; 100_000]));
    interrupt_at(&bench, "http", Signal::SIGINT);
}

/// A build that waits for what another one makes can be interrupted alone, and the other goes on.
#[test]
fn while_waiting_for_another_build() {
    let body = "while ! [ -e /work/wanted.config ]; do :; done; sleep 1000";
    let bench = Bench::with(Scripts::default().with("make", body));
    let mut first = start(bench.image(&[]));
    let family = wait_for(&mut first, "sleep");
    let mut second = start(bench.image(&[]));
    let waits = |pid: u32| fs::read_to_string("/proc/locks").is_ok_and(|text| is_waiting(&text, pid));
    let asked = Instant::now();
    while !waits(second.id()) {
        assert!(asked.elapsed() < PATIENCE, "the second build does not wait");
        sleep(Duration::from_millis(20));
    }
    for build in [&mut second, &mut first] {
        assert!(
            descendants(std::process::id()).keys().any(|pid| family.contains_key(pid)),
            "the first build goes on"
        );
        let pid = i32::try_from(build.id()).expect("process numbers are small");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it is running");
        let text = rest_of_errors(build);
        let status = build.wait().expect("it can be waited for");
        assert_eq!(status.code(), Some(INTERRUPTED), "{status}\n{text}");
    }
    bench.assert_no_leftovers();
}

/// Whether a line of proc_locks(5) says that this process waits for a lock.
fn is_waiting(locks: &str, pid: u32) -> bool {
    let pid = pid.to_string();
    locks.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1) == Some(&"->") && words.contains(&pid.as_str())
    })
}

/// Whenever it comes, the output folder holds all artifacts or none, and the store nothing that is half done.
#[test]
fn at_any_moment() {
    let bench = Bench::new();
    let begun = Instant::now();
    let complete = bench.build();
    let whole = begun.elapsed();
    for moment in 1..=MOMENTS {
        for folder in ["store", "out"] {
            fs::remove_dir_all(bench.path(folder)).expect("a folder of the bench");
            fs::create_dir(bench.path(folder)).expect("a folder of the bench");
        }
        let mut build = start(bench.image(&[]));
        sleep(whole * moment / MOMENTS);
        let pid = i32::try_from(build.id()).expect("process numbers are small");
        kill(Pid::from_raw(pid), Signal::SIGINT).expect("it is not waited for yet");
        let text = rest_of_errors(&mut build);
        let status = build.wait().expect("it can be waited for");
        let left = listing(&bench.out());
        match status.code() {
            Some(0) => assert_eq!(left, complete, "{text}"),
            Some(INTERRUPTED) => assert!(left.is_empty() || left == complete, "{left:?}\n{text}"),
            // It came before the program listened to it.
            None => assert!(left.is_empty() && text.is_empty(), "{left:?}\n{text}"),
            _ => panic!("{status}\n{text}"),
        }
        bench.assert_no_leftovers();
        // What the interrupted build left in the store is good enough for the next one.
        if moment % 3 == 0 {
            assert_eq!(bench.build(), complete);
        }
    }
}
