//! `check`: what a change must pass before it is shown to others. Every check runs; all failures are listed.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use lepton_builder::host::Host;
use lepton_builder::process::Process;

use crate::cli::Cli;
use crate::context::{CommandResult, repo};
use crate::docs;
use crate::tidy;

/// cargo's checks: name, arguments.
const CARGO: [(&str, &[&str]); 3] = [
    ("format", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--quiet", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
    ("unit tests", &["test", "--quiet", "--workspace"]),
];

/// `cargo xtask check`.
pub(crate) fn check(cli: &Cli) -> CommandResult {
    let failed = failures(cli)?;
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("error: these checks failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// Runs all checks; returns the names of those that failed.
pub(crate) fn failures(cli: &Cli) -> Result<Vec<&'static str>> {
    let (host, repo) = (Host::detect()?, repo(cli));
    let mut failed = Vec::new();
    for (name, args) in CARGO {
        eprintln!("== {name}");
        if !passes(&host, &repo, args)? {
            failed.push(name);
        }
    }
    eprintln!("== repository rules");
    let broken = tidy::check(&repo)?;
    for rule in &broken {
        eprintln!("{rule}");
    }
    if !broken.is_empty() {
        failed.push("repository rules");
    }
    eprintln!("== generated documents");
    let stale = docs::stale(&repo)?;
    for name in &stale {
        eprintln!("{name} is not what its sources say\nhint: cargo xtask docs");
    }
    if !stale.is_empty() {
        failed.push("generated documents");
    }
    if host.has_program("cargo-deny") {
        eprintln!("== licences and advisories");
        if !passes(&host, &repo, &["deny", "--offline", "check", "licenses", "bans", "sources"])? {
            failed.push("licences and advisories");
        }
    } else {
        eprintln!("== licences and advisories: left out, because cargo-deny is not installed");
    }
    Ok(failed)
}

fn passes(host: &Host, repo: &Path, args: &[&str]) -> Result<bool> {
    Ok(Process::new(&host.cargo).inherit_env().cwd(repo).args(args).run_attached()?.success())
}
