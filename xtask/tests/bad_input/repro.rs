//! Builds that are not reproducible are found and named, those that are pass, and published artifacts are compared.

use std::fs;
use std::process::Command;

use crate::support::tools::Scripts;
use crate::support::{Bench, damage, listing, run, text};

/// Exit code of builds that differ.
const DIFFERENT: i32 = 5;
/// A file system that is never the same twice.
const RANDOM_EROFS: &str = "cp /work/root.tar /work/rootfs.erofs; read -r id < /proc/sys/kernel/random/uuid; echo $id >> /work/rootfs.erofs";

fn repro(bench: &Bench, more: &[&str]) -> Command {
    let mut command = bench.xtask(&["repro", "tiny"]);
    command.args(more);
    if !more.contains(&"--against") {
        command.args(["--format", "uki,pxe"]);
    }
    command
}

fn passes(bench: &Bench, more: &[&str]) -> String {
    let output = run(repro(bench, more));
    let text = text(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("every byte is the same"), "{text}");
    bench.assert_no_leftovers();
    text
}

#[test]
fn equal_builds_pass_and_say_what_differed() {
    let bench = Bench::new();
    let before = listing(&bench.path("repo"));
    let text = passes(&bench, &[]);
    for words in
        ["umask 022 and 077", "locale C.UTF-8 and tr_TR.UTF-8", "time zone UTC and", "order of files"]
    {
        assert!(text.contains(words), "{words:?} is missing in\n{text}");
    }
    // The bench's lock pins no library for another clock, and that must not be hidden.
    assert!(text.contains("the same in both builds, clock: "), "{text}");
    assert_eq!(listing(&bench.path("repo")), before, "the repository changed");
}

#[test]
fn tool_that_never_writes_the_same_bytes() {
    let bench = Bench::with(Scripts::default().with("mkfs.erofs", RANDOM_EROFS));
    let words = ["x86_64.pxe/initrd differs first at byte ", "manifest.json differs", "not reproducible: "];
    let words = words.map(|words| words.replace("x86_64", std::env::consts::ARCH));
    bench.fails(repro(&bench, &[]), DIFFERENT, &words.each_ref().map(String::as_str));
}

#[test]
fn planted_difference() {
    let bench = Bench::new();
    let name = format!("lepton-tiny-0.1.0-{}.pxe/initrd", std::env::consts::ARCH);
    let text = bench.fails(
        repro(&bench, &["--plant", &name]),
        DIFFERENT,
        &[&format!("{name} differs first at byte "), "not reproducible: 1 files differ"],
    );
    assert_eq!(text.matches("differs first").count(), 1, "{text}");
}

#[test]
fn compiler_that_writes_down_how_many_jobs_it_had() {
    let make = "out=/work/out; case \" $* \" in *\" allnoconfig \"*) cp /work/wanted.config $out/.config ;; *)\n\
                mkdir -p $out/arch/x86/boot $out/arch/arm64/boot $out/include/config\n\
                for image in x86/boot/bzImage arm64/boot/vmlinuz.efi arm64/boot/Image; do\n\
                cp /work/source/linux $out/arch/$image; done; echo $* > $out/include/config/kernel.release ;; esac";
    let bench = Bench::with(Scripts::default().with("make", make));
    bench.fails(repro(&bench, &[]), DIFFERENT, &["compiled: release differs first at byte "]);
    passes(&bench, &["--same", "jobs,user"]);
    // A kernel that was built once is the same for both.
    bench.build();
    passes(&bench, &["--shared", "kernel"]);
}

#[test]
fn published_artifacts() {
    let bench = Bench::new();
    bench.build();
    let published = bench.out().display().to_string();
    passes(&bench, &["--against", &published]);
    let initrd = format!("lepton-tiny-0.1.0-{}.pxe/initrd", std::env::consts::ARCH);
    // What was published is what the list says, whatever the file beside it has become.
    damage(&bench.out().join(&initrd));
    passes(&bench, &["--against", &published]);
    let sums = bench.out().join("SHA256SUMS");
    let text = fs::read_to_string(&sums).expect("the list");
    let line = text.lines().find(|line| line.ends_with(&initrd)).expect("a line of the list");
    let other = if line.starts_with('0') { "1" } else { "0" };
    fs::write(&sums, text.replace(line, &format!("{other}{}", &line[1..]))).expect("the list");
    bench.fails(
        repro(&bench, &["--against", &published]),
        DIFFERENT,
        &[&format!("{initrd} has another digest than the published one"), "1 files differ"],
    );
}

#[test]
fn folders_that_hold_nothing_to_compare() {
    let bench = Bench::new();
    let published = bench.out().display().to_string();
    bench.fails(repro(&bench, &["--against", &published]), 2, &["cannot read", "SHA256SUMS"]);
    let other = format!("{}  lepton-other-0.1.0-x86_64.iso\n", "0".repeat(64));
    fs::write(bench.out().join("SHA256SUMS"), other).expect("the list");
    bench.fails(repro(&bench, &["--against", &published]), 2, &["lists no artifact of lepton-tiny-0.1.0"]);
    for bad in ["x", &format!("{}  ../lepton-tiny-0.1.0-x86_64.iso\n", "0".repeat(64))] {
        fs::write(bench.out().join("SHA256SUMS"), bad).expect("the list");
        bench.fails(repro(&bench, &["--against", &published]), 2, &["SHA256SUMS:1: this is no line"]);
    }
}
