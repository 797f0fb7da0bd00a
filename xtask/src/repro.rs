//! `repro`: builds an image twice, as differently as one machine can, and compares every byte.
//!
//! The second build has another path, store, home, umask, locale, time zone, job count and order of
//! folders; only the downloads are shared, because they are checked by digest.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use lepton_builder::host::STORE_VARIABLE;
use lepton_builder::process::{Process, with_umask};
use lepton_builder::scratch::Scratch;

use crate::cli::{Cli, Target};
use crate::context::{CommandResult, Context};

/// What a copy of the repository leaves out.
const LEFT_OUT: [&str; 3] = ["target", "out", ".git"];
/// Every format.
const FORMATS: &str = "uki,raw,qcow2,vmdk,ova,iso,pxe";

/// `cargo xtask repro`.
pub(crate) fn repro(target: &Target, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let (image, arch) = context.target(target)?;
    // Beside the store, so that downloads can be linked instead of copied.
    let parent = context.host.store.parent().unwrap_or(Path::new("/")).to_owned();
    let work = Scratch::new_in(&parent, "lepton-repro-")?;
    let mut outs = Vec::new();
    for variant in &VARIANTS {
        let dir = work.path().join(variant.folder);
        let (repo, store, out) = (dir.join("repo"), dir.join("store"), dir.join("out"));
        copy_repo(context.catalog.root(), &repo, variant.order)?;
        link_downloads(&context.host.store.join("blobs"), &store.join("blobs"))?;
        context.progress.line(&format!("building {image} for {arch} in {}", dir.display()));
        let process = Process::new("/proc/self/exe")
            .inherit_env()
            .env(STORE_VARIABLE, store.as_os_str())
            .env("TZ", variant.zone)
            .env("LC_ALL", variant.locale)
            .args(["--quiet", "--repo"])
            .arg(&repo)
            .args(["image", image.as_str(), "--arch", arch.name(), "--format", FORMATS])
            .arg("--jobs")
            .arg(variant.jobs.to_string())
            .arg("--out")
            .arg(&out);
        let status = with_umask(variant.umask, || process.run_attached())?;
        if !status.success() {
            bail!("the build in {} failed", dir.display());
        }
        outs.push(out);
    }
    let differences = compare(&outs[0], &outs[1])?;
    if differences.is_empty() {
        context.progress.line("both builds gave the same bytes");
        return Ok(ExitCode::SUCCESS);
    }
    for difference in &differences {
        eprintln!("{difference}");
    }
    bail!("{} files differ", differences.len());
}

struct Variant {
    folder: &'static str,
    zone: &'static str,
    locale: &'static str,
    umask: u32,
    jobs: u32,
    order: Order,
}

#[derive(Clone, Copy)]
enum Order {
    Forward,
    Backward,
}

const VARIANTS: [Variant; 2] = [
    Variant { folder: "a", zone: "UTC", locale: "C", umask: 0o022, jobs: 2, order: Order::Forward },
    Variant {
        folder: "another/place",
        zone: "Asia/Kathmandu",
        locale: "tr_TR.UTF-8",
        umask: 0o077,
        jobs: 3,
        order: Order::Backward,
    },
];

/// The files that builds read, made in the given order.
fn copy_repo(from: &Path, to: &Path, order: Order) -> Result<()> {
    let left_out = |entry: &walkdir::DirEntry| {
        entry.depth() == 1 && LEFT_OUT.contains(&&*entry.file_name().to_string_lossy())
    };
    let listed = walkdir::WalkDir::new(from).sort_by_file_name().into_iter();
    let mut files = Vec::new();
    for entry in listed.filter_entry(|entry| !left_out(entry)) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    if matches!(order, Order::Backward) {
        files.reverse();
    }
    for file in files {
        let target = to.join(file.strip_prefix(from).unwrap_or(&file));
        let folder = target.parent().unwrap_or(to);
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        fs::copy(&file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    Ok(())
}

fn link_downloads(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for entry in walkdir::WalkDir::new(from).min_depth(1).sort_by_file_name() {
        let entry = entry?;
        fs::hard_link(entry.path(), to.join(entry.file_name())).context("cannot link a download")?;
    }
    Ok(())
}

/// One line for every file that differs, with the first byte that does.
fn compare(one: &Path, two: &Path) -> Result<Vec<String>> {
    let (names, others) = (files(one)?, files(two)?);
    let mut differences: Vec<String> = others
        .iter()
        .filter(|name| !names.contains(name))
        .map(|name| format!("{} exists only once", name.display()))
        .collect();
    for name in &names {
        if !others.contains(name) {
            differences.push(format!("{} exists only once", name.display()));
        } else if let Some(byte) = first_difference(&one.join(name), &two.join(name))? {
            differences.push(format!("{} differs first at byte {byte}", name.display()));
        }
    }
    Ok(differences)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in walkdir::WalkDir::new(dir).sort_by_file_name() {
        let entry = entry?;
        if entry.file_type().is_file() {
            names.push(entry.path().strip_prefix(dir).unwrap_or(entry.path()).to_owned());
        }
    }
    Ok(names)
}

fn first_difference(one: &Path, two: &Path) -> io::Result<Option<u64>> {
    let mut readers = [BufReader::new(File::open(one)?), BufReader::new(File::open(two)?)];
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut offset = 0;
    loop {
        let (had, other) = (fill(&mut readers[0], &mut left)?, fill(&mut readers[1], &mut right)?);
        if let Some(at) = (0..had.max(other)).find(|at| *at >= had || *at >= other || left[*at] != right[*at])
        {
            return Ok(Some(offset + at as u64));
        }
        if had == 0 {
            return Ok(None);
        }
        offset += had as u64;
    }
}

fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read(&mut buffer[count..])? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_named_with_its_byte() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("1"), dir.path().join("2"));
        for (path, changed, extra) in [(&one, b'x', false), (&two, b'y', true)] {
            fs::create_dir_all(path.join("p")).unwrap();
            fs::write(path.join("same"), "same").unwrap();
            fs::write(path.join("p/changed"), [b'a', changed]).unwrap();
            fs::write(path.join("longer"), if extra { "abc" } else { "ab" }).unwrap();
            if extra {
                fs::write(path.join("alone"), "").unwrap();
            }
        }
        let found = compare(&one, &two).unwrap();
        let wanted =
            ["alone exists only once", "longer differs first at byte 2", "p/changed differs first at byte 1"];
        assert_eq!(found, wanted);
    }
}
