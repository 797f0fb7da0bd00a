//! The CD as `xorriso` reads it: what PC and UEFI firmware would boot, and the files that isolinux loads.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lepton_builder::arch::Arch;

use super::case::{Defect, hold, scratch};
use super::files::same_bytes;
use super::plant::Copy;
use super::{Verdict, require, tool};
use crate::Context;
use crate::context::TestError;

/// El Torito counts blocks of a CD, partition tables count sectors.
const SECTORS_PER_BLOCK: u64 = 4;
/// The boot record volume descriptor and, in it, the block of the boot catalog (El Torito 1.0, figure 7).
const CATALOG: u64 = 17 * 2048 + 0x47;
/// Why a line of xorriso means trouble, mildest first (`man xorriso`, -abort_on).
const TROUBLE: [&str; 4] = [": WARNING :", ": SORRY :", ": FAILURE :", ": FATAL :"];

pub(super) fn boot_images(cx: &Context) -> Verdict {
    let judge = |iso: &Path| firmware(cx, iso).and_then(|()| files(cx, iso));
    hold(
        &cx.artifact("iso")?,
        &judge,
        &[
            Defect::new("an empty boot catalog", &|copy| copy.write(catalog(copy)?, &[0; 96])),
            Defect::new("an entry that is not bootable", &|copy| copy.write(catalog(copy)? + 32, &[0])),
            Defect::new("a boot image at another place", &|copy| copy.flip(catalog(copy)? + 32 + 8)),
            // The EFI system partition, with the kernel in it, is nearly all of the image.
            Defect::new("another kernel", &|copy| copy.flip(copy.len()? / 2)),
            Defect::new("no partition table", &|copy| copy.write(512, &[0; 92])),
        ],
    )
}

/// Byte offset of the boot catalog.
fn catalog(copy: &Copy) -> io::Result<u64> {
    Ok(u64::from(u32::from_le_bytes(copy.read(CATALOG)?)) * 2048)
}

/// Boot images for the firmware that the architecture has, and the partition table of a stick.
fn firmware(cx: &Context, iso: &Path) -> Verdict {
    let ask = tool::on(cx, "xorriso", iso).args(["-indev", &tool::shown(iso)]).args([
        "-report_el_torito",
        "plain",
        "-report_system_area",
        "plain",
    ]);
    let text = tool::ask("xorriso", &ask)?;
    let report = Report::parse(&text);
    require("xorriso", !TROUBLE.iter().any(|word| text.contains(word)), || text.clone())?;
    let (platforms, system_area) = match cx.arch {
        Arch::X86_64 => (&["BIOS", "UEFI"][..], "MBR isohybrid cyl-align-off GPT"),
        Arch::Aarch64 => (&["UEFI"][..], "MBR protective-msdos-label cyl-align-off GPT"),
    };
    // Columns: number, platform, bootable, emulation, segment, type, sectors to load, block.
    let images: Vec<Vec<&str>> = report.rows("El Torito boot img");
    let bootable: Vec<&str> =
        images.iter().filter(|row| row[2..4] == ["y", "none"]).map(|row| row[1]).collect();
    require("xorriso", bootable == platforms, || format!("boots {bootable:?} only:\n{text}"))?;
    require("xorriso", report.value("System area summary") == Some(system_area), || text.clone())?;
    // Firmware takes the same volume from a CD and from a stick.
    let uefi = images.iter().find(|row| row[1] == "UEFI").and_then(|row| {
        Some((row.get(7)?.parse::<u64>().ok()? * SECTORS_PER_BLOCK, row.get(6)?.parse::<u64>().ok()?))
    });
    let partition = report
        .rows("GPT start and size")
        .first()
        .and_then(|row| Some((row.get(1)?.parse::<u64>().ok()?, row.get(2)?.parse::<u64>().ok()?)));
    require("xorriso", uefi.is_some() && uefi == partition, || {
        format!("the UEFI boot image is at {uefi:?}, the partition at {partition:?}:\n{text}")
    })
}

/// Lines of `name: columns`.
struct Report<'t>(BTreeMap<&'t str, Vec<&'t str>>);

impl<'t> Report<'t> {
    fn parse(text: &'t str) -> Self {
        let mut lines: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, value) in text.lines().filter_map(|line| line.split_once(':')) {
            lines.entry(name.trim()).or_default().push(value.trim());
        }
        Self(lines)
    }

    fn value(&self, name: &str) -> Option<&'t str> {
        self.0.get(name)?.first().copied()
    }

    fn rows(&self, name: &str) -> Vec<Vec<&'t str>> {
        let lines = self.0.get(name).into_iter().flatten();
        lines.map(|line| line.split_whitespace().collect()).collect()
    }
}

/// Kernel and initrd are those of network boot, and isolinux passes the image's command line.
fn files(cx: &Context, iso: &Path) -> Verdict {
    let dir = scratch()?;
    let extract = tool::on(cx, "xorriso", iso).writable(dir.path(), "/out").args([
        "-osirrox",
        "on",
        "-indev",
        &tool::shown(iso),
        "-extract",
        "/",
        "/out/files",
    ]);
    tool::ask("xorriso", &extract)?;
    let (found, pxe) = (dir.path().join("files"), cx.artifact("pxe")?);
    for name in ["vmlinuz", "initrd"] {
        same_bytes("xorriso", &found.join(name), &pxe.join(name))?;
    }
    if cx.arch == Arch::Aarch64 {
        return Ok(());
    }
    let path = found.join("isolinux/isolinux.cfg");
    let text = std::fs::read_to_string(&path).map_err(TestError::file("read", &path))?;
    let line = format!("APPEND {}", cx.cmdline);
    require("xorriso", text.lines().any(|found| found.trim() == line), || format!("no {line:?} in:\n{text}"))
}
