//! The clock of the second build: libfaketime of the tool set `repro`, and the proof that it is really another one.
//!
//! The library reaches every program that asks the C library for the time: this program, make, compilers, cargo and
//! what writes file systems. Programs without a C library (those of the Go tools) still see the machine's clock.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use lepton_builder::clock::{self, Clock};
use lepton_builder::process::Process;
use lepton_builder::tools::ToolTree;

use crate::context::Context;

/// Begins every line that says which clock a program saw.
pub(super) const LINE: &str = "clock: ";
/// Another year, month, day of the month and day of the week, and another time of day.
const AHEAD: u64 = 400 * 86_400 + 5 * 3600 + 17 * 60;
/// The tool set with the library.
const SET: &str = "repro";
/// Tool sets with a program that tells the time.
const WITH_DATE: [&str; 3] = ["kernel", "rust", "go"];

/// A clock that is ahead, or nothing where the lock has no library for it.
pub(super) fn other(context: &Context) -> Result<Option<Clock>> {
    let toolbox = context.toolbox();
    if toolbox.key(SET).is_err() {
        return Ok(None);
    }
    let tree = toolbox.tree(SET)?;
    let library =
        tree.root().join(format!("usr/lib/{}/faketime/libfaketime.so.1", context.host.arch.gnu_triplet()));
    if !library.is_file() {
        bail!("the tool set {SET} has no {}", library.display());
    }
    Ok(Some(Clock { ahead: AHEAD, library }))
}

/// After a build with another clock: fails unless the tools of the build really see it.
pub(crate) fn prove(context: &Context, clock: &Clock) -> Result<()> {
    // The kernel stamps new files with the machine's own time.
    let scratch = context.store.scratch("clock")?;
    let file = scratch.path().join("now");
    fs::write(&file, "").context("cannot make a file in the store")?;
    let real = u64::try_from(fs::metadata(&file)?.mtime()).unwrap_or(0);
    let is_moved = |now: u64| now.abs_diff(real + clock.ahead) < 3600;
    let own = if is_moved(clock::now()) { "moved" } else { "not moved: the machine's C library refuses it" };
    context.progress.line(&format!("{LINE}of this program {own}"));
    let show = |tree: &ToolTree, set: &str, real: u64| {
        let text = tree.program("date").arg("+%s").process().output()?;
        if !text.trim().parse().is_ok_and(is_moved) {
            bail!("the clock of the {set} tools is not moved: they say {}, it is {real}", text.trim());
        }
        context.progress.line(&format!("{LINE}of the {set} tools moved by {} s", clock.ahead));
        Ok(())
    };
    let toolbox = context.toolbox();
    let mut count = 0;
    for set in WITH_DATE {
        let Some(tree) = toolbox.key(set).ok().and_then(|key| toolbox.store.tree(key)) else { continue };
        if !tree.join("usr/bin/date").exists() {
            continue;
        }
        show(&toolbox.tree(set)?, set, real)?;
        count += 1;
    }
    if count == 0 {
        // Nothing was compiled; the tools that ran have no `date`, but this set has.
        show(&toolbox.tree(SET)?, SET, real)?;
    }
    Ok(())
}

/// Whether a program runs with this clock: its library may want a newer C library than the machine's.
pub(super) fn reaches(program: &Path, clock: &Clock) -> bool {
    let mut process = Process::new(program).arg("--version");
    for (key, value) in clock.env(&clock.library.to_string_lossy()) {
        process = process.env(key, value);
    }
    process.output().is_ok()
}
