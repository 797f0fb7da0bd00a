//! Lets diffoscope say what a difference means: a help for people, which never decides anything.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};

use super::compare::{Difference, Kind};
use crate::context::Context;

/// The tool set with diffoscope.
const SET: &str = "repro";
/// Larger files are not explained, in bytes.
const LARGEST: u64 = 64 << 20;
/// Seconds that an explanation may take.
const SECONDS: &str = "120";
/// Lines of the report that are shown.
const LINES: usize = 40;
/// Bytes of the report that are read.
const REPORT_BYTES: u64 = 1 << 16;

/// Explains the smallest file that differs.
pub(super) fn explain(context: &Context, differences: &[Difference], one: &Path, two: &Path) {
    let size = |dir: &Path, name: &Path| fs::metadata(dir.join(name)).map(|meta| meta.len()).ok();
    let both = |difference: &&Difference| matches!(difference.kind, Kind::Byte(..));
    let sized = differences.iter().filter(both).filter_map(|difference| {
        let size = size(one, &difference.name)?.max(size(two, &difference.name)?);
        (size <= LARGEST).then_some((size, &difference.name))
    });
    let Some((_, name)) = sized.min() else { return };
    match report(context, &one.join(name), &two.join(name), name) {
        Ok(text) => {
            eprintln!("diffoscope on {}:", name.display());
            text.lines().take(LINES).for_each(|line| eprintln!("  {line}"));
            if text.lines().count() > LINES {
                eprintln!("  …");
            }
        }
        Err(error) => eprintln!("diffoscope cannot explain {}: {error:#}", name.display()),
    }
}

fn report(context: &Context, one: &Path, two: &Path, name: &Path) -> Result<String> {
    let tree = context.toolbox().tree(SET)?;
    // The names say what kind of file it is, and tell the two apart in the report.
    let shown: PathBuf = name.file_name().unwrap_or_default().into();
    let (first, second) = (format!("/first/{}", shown.display()), format!("/second/{}", shown.display()));
    // It looks for this library through ldconfig's cache, which a tool tree has not.
    let library = format!("/usr/lib/{}/libarchive.so.13", context.host.arch.gnu_triplet());
    let process = tree
        .program("timeout")
        .env("LIBARCHIVE", library)
        .read_only(one, &first)
        .read_only(two, &second)
        .args([SECONDS, "diffoscope", "--text", "-", "--max-text-report-size", "65536"])
        .args([first, second])
        .process();
    let mut child = process.spawn(Stdio::null(), Stdio::piped(), Stdio::piped())?;
    let mut text = Vec::new();
    // Ends at the bound; closing the pipe then ends the tool.
    let taken = child.stdout.take().context("its output is a pipe")?;
    taken.take(REPORT_BYTES).read_to_end(&mut text).context("cannot read its report")?;
    let mut errors = String::new();
    let stream = child.stderr.take().context("its errors are a pipe")?;
    stream.take(REPORT_BYTES).read_to_string(&mut errors).context("cannot read its errors")?;
    // It ends with 1 where files differ.
    let status = child.wait()?;
    if text.is_empty() {
        anyhow::bail!("{status} {}", errors.trim());
    }
    // The bound may lie inside a letter.
    Ok(String::from_utf8_lossy(&text).into_owned())
}
