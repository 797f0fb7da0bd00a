//! A service that looks at what it was given, from the inside.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use rustix::process::{Resource, getgid, getrlimit, getuid};
use rustix::thread::CapabilitySet;

/// Ends well when everything is as its table says; prints what is not.
pub(crate) fn check() -> io::Result<ExitCode> {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_default().trim().to_owned()
    };
    let only = format!("{:016x}", CapabilitySet::NET_BIND_SERVICE.bits());
    let denied = |error: io::Error| error.raw_os_error();
    let cgroup = fs::read_to_string("/proc/self/cgroup")?;
    let variables: Vec<(String, String)> = std::env::vars().collect();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let dev: Vec<String> = names("/dev")?;
    let facts = [
        ("user", getuid().as_raw() == 12_345 && getgid().as_raw() == 12_345),
        ("groups", field("Groups") == "5"),
        ("effective capabilities", field("CapEff") == only),
        ("bounding capabilities", field("CapBnd") == only),
        ("no new privileges", field("NoNewPrivs") == "1"),
        ("seccomp", field("Seccomp") == "2"),
        ("blocked signals", field("SigBlk") == "0000000000000000"),
        (
            "ignored signals but SIGPIPE",
            ["0000000000000000", "0000000000001000"].contains(&field("SigIgn").as_str()),
        ),
        ("kill is denied", kill(Pid::this(), None) == Err(Errno::EPERM)),
        (
            "private /dev",
            dev == [
                "fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
            ],
        ),
        ("/dev/null", fs::write("/dev/null", "x").is_ok()),
        ("private /tmp is empty", names("/tmp")?.is_empty()),
        ("private /tmp is writable", fs::write("/tmp/x", "x").is_ok()),
        ("/var is read-only", fs::write("/var/x", "x").map_err(denied) == Err(Some(30))),
        ("hidden folder", names("/usr/share/lepton/services")?.is_empty()),
        ("hidden file", fs::read("/usr/share/lepton/plan.toml").is_ok_and(|bytes| bytes.is_empty())),
        ("open files", getrlimit(Resource::Nofile).current == Some(77)),
        ("OOM score", fs::read_to_string("/proc/self/oom_score_adj")?.trim() == "321"),
        ("working folder", std::env::current_dir()? == Path::new("/usr")),
        ("environment", variable("GREETING") == Some("hello") && variable("PATH") == Some("/usr/bin")),
        ("no other variables", variables.len() == 3),
        ("cgroup", cgroup.trim() == "0::/lepton/sandbox"),
        ("descriptors", names("/proc/self/fd")?.len() <= 4),
    ];
    let wrong: Vec<&str> = facts.iter().filter(|(_, holds)| !holds).map(|(fact, _)| *fact).collect();
    if wrong.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(io::Error::other(format!(
        "wrong: {}; /dev: {dev:?}; variables: {variables:?}; {status}",
        wrong.join(", ")
    )))
}

#[expect(clippy::disallowed_methods, reason = "it sorts")]
fn names(path: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}
