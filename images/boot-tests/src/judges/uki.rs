//! The unified kernel image as `ukify` and `objdump` read it: every section is there and holds what it should.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::digest::Digest;
use serde::Deserialize;

use super::case::{Defect, hold};
use super::files::same_bytes;
use super::plant::Copy;
use super::{Verdict, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// What `ukify --json=short inspect` says of a section.
#[derive(Deserialize)]
struct Section {
    size: u64,
    sha256: String,
    text: Option<String>,
}

type Sections = BTreeMap<String, Section>;

pub(super) fn sections(cx: &Context) -> Verdict {
    let uki = cx.artifact("efi")?;
    let served = cx.artifact("pxe")?.join(format!("{}.efi", cx.stem));
    same_bytes("comparison", &served, &uki)?;
    let judge = |uki: &Path| contents(cx, uki);
    hold(
        &uki,
        &judge,
        &[
            // The kernel is more than half of the file.
            Defect::new("another kernel", &|copy| copy.flip(copy.len()? / 2)),
            Defect::new("no command line", &|copy| rename(copy, b".cmdline", b".cmdlinx")),
            Defect::new("no SBAT", &|copy| rename(copy, b".sbat\0", b".zbat\0")),
            Defect::new("an initrd that was cut", &|copy| copy.set_len(copy.len()? - 4096)),
        ],
    )
}

fn contents(cx: &Context, uki: &Path) -> Verdict {
    let inspect = tool::on(cx, "ukify", uki).args(["--json=short", "inspect"]).arg(tool::shown(uki));
    let text = tool::report("ukify", &inspect)?;
    let sections: Sections =
        serde_json::from_str(&text).map_err(|error| refuse("ukify", format!("{error}: {text}")))?;
    let pxe = cx.artifact("pxe")?;
    for (name, file) in [(".linux", "vmlinuz"), (".initrd", "initrd")] {
        let path = pxe.join(file);
        let (digest, len) = Digest::of_file(&path).map_err(TestError::file("read", &path))?;
        let section = sections.get(name).ok_or_else(|| refuse("ukify", format!("no section {name}")))?;
        require("ukify", section.size == len && section.sha256 == digest.to_string(), || {
            format!("{name} is not {}: {len} bytes {digest} in {text}", path.display())
        })?;
    }
    let uname = text_of(&sections, ".uname")?;
    let release = format!(" {uname} Kernel Configuration");
    let kconfig = cx.artifact("kconfig")?;
    let config = std::fs::read_to_string(&kconfig).map_err(TestError::file("read", &kconfig))?;
    let (image, sbat) = (format!("PRETTY_NAME=\"Lepton {}", image_of(cx)), "\nlepton,1,");
    for (holds, what) in [
        (config.contains(&release), ".uname is the kernel's release"),
        (text_of(&sections, ".cmdline")? == cx.cmdline, ".cmdline is the image's"),
        (text_of(&sections, ".osrel")?.contains(&image), ".osrel names the image"),
        (text_of(&sections, ".sbat")?.contains(sbat), ".sbat names our own component"),
    ] {
        require("ukify", holds, || format!("not true: {what}: {text}"))?;
    }
    headers(cx, uki, &sections)
}

/// binutils sees the same sizes; Debian's know the programs of their own architecture.
fn headers(cx: &Context, uki: &Path, sections: &Sections) -> Verdict {
    if cx.arch != Arch::X86_64 || Arch::host().ok() != Some(Arch::X86_64) {
        return Ok(());
    }
    let text = tool::ask("objdump", &tool::on(cx, "objdump", uki).arg("-h").arg(tool::shown(uki)))?;
    for (name, section) in sections {
        // Columns: index, name, size in hexadecimal.
        let row = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let size = row.filter(|row| row.get(1) == Some(&name.as_str())).find_map(|row| row.get(2).copied());
        let size = size.and_then(|size| u64::from_str_radix(size, 16).ok());
        require("objdump", size == Some(section.size), || {
            format!("{name} has not {} bytes: {text}", section.size)
        })?;
    }
    Ok(())
}

fn text_of<'s>(sections: &'s Sections, name: &str) -> Result<&'s str, TestError> {
    let text = sections.get(name).and_then(|section| section.text.as_deref());
    text.ok_or_else(|| refuse("ukify", format!("no text in section {name}")))
}

/// The image's name and version, as `os-release` writes them.
fn image_of(cx: &Context) -> String {
    let name = cx.stem.strip_prefix("lepton-").unwrap_or(&cx.stem);
    name.strip_suffix(&format!("-{}", cx.arch)).unwrap_or(name).replace('-', " ")
}

/// Changes a name in the section table, which lies in the first 4096 bytes.
fn rename(copy: &Copy, from: &[u8], to: &[u8]) -> io::Result<()> {
    let head: [u8; 4096] = copy.read(0)?;
    let at = head.windows(from.len()).position(|bytes| bytes == from).ok_or(io::ErrorKind::NotFound)?;
    copy.write(at as u64, to)
}
