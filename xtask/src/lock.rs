//! `lock`: shows the pinned packages, or renews them from the mirror.

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context as _;
use lepton_builder::host::Host;
use lepton_builder::lock::{FILE_NAME, Lock};
use lepton_builder::lock_update::{render, update};
use lepton_builder::progress::Progress;
use lepton_builder::store::Store;

use crate::cli::{Cli, LockOptions};
use crate::context::{CommandResult, repo};

/// `cargo xtask lock`.
pub(crate) fn lock(options: &LockOptions, cli: &Cli) -> CommandResult {
    let repo = repo(cli);
    let path = repo.join(FILE_NAME);
    let Some(wanted) = &options.update else {
        let lock = Lock::load(&path)?;
        for (id, package) in &lock.packages {
            writeln!(std::io::stdout(), "{id} {} {} {}", package.version, package.size, package.sha256)?;
        }
        return Ok(ExitCode::SUCCESS);
    };
    let only = (!wanted.is_empty()).then_some(wanted.as_str());
    // A lock that cannot be read is replaced when everything is renewed, and an error otherwise.
    let old = match (Lock::load(&path), only) {
        (Ok(lock), _) => Some(lock),
        (Err(_), None) => None,
        (Err(error), Some(_)) => return Err(error.into()),
    };
    let host = Host::detect()?;
    let mirror = host.mirror?;
    let scratch = Store::open(&host.store)?.scratch("lock")?;
    let progress = if cli.quiet { Progress::quiet() } else { Progress::new() };
    let step = progress.step("read indexes", None);
    let new = update(&repo, scratch.path(), &mirror, old.as_ref(), only, |_| step.advance(1))?;
    step.finish();
    report(old.as_ref(), &new, &progress);
    let fresh = path.with_extension("lock.new");
    let written = fs::write(&fresh, render(&new)).and_then(|()| fs::rename(&fresh, &path));
    // Half a lock must not be taken for one; where it could not even be made there is nothing to remove.
    written
        .inspect_err(|_| drop(fs::remove_file(&fresh)))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn report(old: Option<&Lock>, new: &Lock, progress: &Progress) {
    let before = |id: &String| old.and_then(|lock| lock.packages.get(id));
    for (id, package) in &new.packages {
        match before(id) {
            None => progress.line(&format!("added {id} {}", package.version)),
            Some(had) if had.version != package.version => {
                progress.line(&format!("{id} {} -> {}", had.version, package.version));
            }
            Some(_) => {}
        }
    }
    let gone = old.into_iter().flat_map(|lock| lock.packages.keys());
    for id in gone.filter(|id| !new.packages.contains_key(*id)) {
        progress.line(&format!("removed {id}"));
    }
}
