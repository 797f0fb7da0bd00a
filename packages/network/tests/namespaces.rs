//! The service against real servers (dnsmasq, chrony) in network namespaces of this test. Nothing outside of them is
//! touched: no address, no clock. `LEPTON_TEST_STORE` names the store whose tool tree has the servers.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "this test starts programs, is told where the store is, and reports by itself"
)]

#[path = "namespaces/field.rs"]
mod field;
#[path = "namespaces/links.rs"]
mod links;
#[path = "namespaces/machine.rs"]
mod machine;
#[path = "namespaces/scenarios.rs"]
mod scenarios;
#[path = "namespaces/time.rs"]
mod time;

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use nix::sched::{CloneFlags, setns, unshare};

/// The test that boots a machine.
const MACHINE: &str = "kernel_of_the_image";
/// Scenarios that run there: what this kernel may lack, and one of each of the others.
const IN_MACHINE: &[&str] = &["vlan", "bond", "without_config", "ipv6_only", "dhcp6_with_addresses"];

/// A name and what it does.
type Scenario = (&'static str, fn(&mut field::Field));

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--hold"] => hold(),
        ["--in", pid, program, ref rest @ ..] => enter(pid, program, rest),
        ["--scenario", name] => run(name),
        ["--machine", ref filters @ ..] => machine::main(filters),
        ref filters => everywhere(filters),
    }
}

fn scenarios() -> Vec<Scenario> {
    [scenarios::ALL, links::ALL, time::ALL].concat()
}

/// Here, and for links that this kernel may not have, in a machine with the kernel of the image.
fn everywhere(words: &[&str]) -> ExitCode {
    let here = all(words);
    let is_wanted = |name: &str| words.iter().all(|word| word.starts_with('-')) || words.contains(&name);
    if words.contains(&"--list") || !is_wanted(MACHINE) {
        return here;
    }
    let began = std::time::Instant::now();
    let Some(is_good) = machine::run(IN_MACHINE) else { return here };
    let word = if is_good { "ok" } else { "FAILED" };
    println!("test {MACHINE} ... {word} ({:.1} s)", began.elapsed().as_secs_f32());
    if is_good { here } else { ExitCode::FAILURE }
}

/// Runs every scenario in a process of its own, because only a process without threads can enter a user namespace.
fn all(words: &[&str]) -> ExitCode {
    let filters: Vec<&&str> = words.iter().filter(|word| !word.starts_with('-')).collect();
    if words.contains(&"--list") {
        for (name, _) in scenarios() {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if std::env::var_os(field::STORE_VARIABLE).is_none() {
        eprintln!(
            "left out: {} is not set, so there are no DHCP, router and NTP servers",
            field::STORE_VARIABLE
        );
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, _) in scenarios() {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(**filter)) {
            continue;
        }
        let began = std::time::Instant::now();
        let own = std::env::current_exe().expect("this program");
        let success =
            Command::new(own).args(["--scenario", name]).status().is_ok_and(|status| status.success());
        println!(
            "test {name} ... {} ({:.1} s)",
            if success { "ok" } else { "FAILED" },
            began.elapsed().as_secs_f32()
        );
        failed += usize::from(!success);
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One scenario, in new namespaces.
fn run(name: &str) -> ExitCode {
    let (user, group) = (nix::unistd::getuid(), nix::unistd::getgid());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
        .expect("user namespaces are allowed");
    std::fs::write("/proc/self/setgroups", "deny").expect("a new user namespace");
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1")).expect("a new user namespace");
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1")).expect("a new user namespace");
    let all = scenarios();
    let (_, scenario) = all.iter().find(|(known, _)| *known == name).expect("a known scenario");
    let mut field = field::Field::new();
    scenario(&mut field);
    ExitCode::SUCCESS
}

/// Keeps a network namespace until standard input ends.
fn hold() -> ExitCode {
    unshare(CloneFlags::CLONE_NEWNET).expect("within a user namespace");
    println!("ready");
    let _ = std::io::stdin().lines().next();
    ExitCode::SUCCESS
}

/// Runs a program in the network namespace of a process.
fn enter(pid: &str, program: &str, rest: &[&str]) -> ExitCode {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).expect("the namespace is held");
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("it belongs to the same user namespace");
    let error = Command::new(program).args(rest).exec();
    panic!("cannot run {program}: {error}");
}
