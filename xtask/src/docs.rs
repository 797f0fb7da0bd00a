//! `docs`: documents that are made from descriptions, and the check that they are fresh.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::cli::Cli;
use crate::context::{CommandResult, repo};
use crate::{conformance, hardening_doc};

/// Makes the text of a document from a repository.
type Maker = fn(&Path) -> Result<String>;

/// Every document that is made.
const DOCUMENTS: [(&str, Maker); 3] = [
    ("docs/api.md", |_| Ok(lepton_host_api::docs::page())),
    ("docs/conformance.md", conformance::doc::text),
    ("docs/hardening.md", hardening_doc::text),
];

/// `cargo xtask docs`.
pub(crate) fn docs(cli: &Cli) -> CommandResult {
    let repo = repo(cli);
    for (name, make) in DOCUMENTS {
        let text = make(&repo)?;
        let path = repo.join(name);
        let fresh = path.with_extension("md.new");
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .inspect_err(|_| drop(fs::remove_file(&fresh)))
            .with_context(|| format!("cannot write {name}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Documents that say something else than their sources.
pub(crate) fn stale(repo: &Path) -> Result<Vec<&'static str>> {
    let mut stale = Vec::new();
    for (name, make) in DOCUMENTS {
        // One that is missing is stale.
        if fs::read_to_string(repo.join(name)).unwrap_or_default() != make(repo)? {
            stale.push(name);
        }
    }
    Ok(stale)
}
