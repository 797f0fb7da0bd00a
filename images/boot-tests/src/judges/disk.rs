//! Disk images: partition tables as `sgdisk` and `sfdisk` see them, and one disk in every container by `qemu-img`.

use std::io;
use std::path::Path;

use serde::Deserialize;

use super::case::{Defect, hold};
use super::plant::Copy;
use super::{Verdict, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// GPT header: LBA of the partition entries (UEFI 2.10 section 5.3.2).
const ENTRIES_LBA: u64 = 72;
/// GPT header: its own CRC-32.
const HEADER_CRC: u64 = 16;
/// GPT entry: the last LBA of the partition.
const LAST_LBA: u64 = 40;

/// The table of disks and of CDs copied to a stick, in sectors of 512 bytes.
pub(super) fn gpt(cx: &Context) -> Verdict {
    let judge = |disk: &Path| {
        let text = tool::ask("sgdisk", &tool::on(cx, "sgdisk", disk).arg("--verify").arg(tool::shown(disk)))?;
        // A table that it replaced by the backup while reading is no problem to it.
        let is_whole = !text.contains("CRC") && !text.contains("corrupt");
        require("sgdisk", is_whole && text.contains("No problems found"), || text)
    };
    let entry = |copy: &Copy| copy.flip(first_entry(copy, 512)? + LAST_LBA);
    let defects = [
        Defect::new("a wrong checksum in the header", &|copy| copy.flip(512 + HEADER_CRC)),
        Defect::new("a wrong checksum in the backup", &|copy| copy.flip(copy.len()? - 512 + HEADER_CRC)),
        Defect::new("another partition size", &entry),
        Defect::new("a disk that was cut", &|copy| copy.set_len(copy.len()? - 4096)),
    ];
    hold(&cx.artifact("raw")?, &judge, &defects)?;
    hold(&cx.artifact("iso")?, &judge, &defects)
}

/// The same bytes on a disk with sectors of 4096 bytes: a table of its own with the same partitions.
pub(super) fn gpt_4k(cx: &Context) -> Verdict {
    let judge = |disk: &Path| {
        let verify =
            tool::on(cx, "sfdisk", disk).args(["--sector-size", "4096", "--verify"]).arg(tool::shown(disk));
        let text = tool::ask("sfdisk", &verify)?;
        // sfdisk ends well with a damaged table, too, and only says so.
        let harmless = ["/in/", "No errors detected.", "Header version:", "Using ", "A total of "];
        let is_harmless = |line: &str| harmless.iter().any(|start| line.starts_with(start));
        require("sfdisk", text.contains("Header version:") && text.lines().all(is_harmless), || text)?;
        let (small, large) = (partitions(cx, disk, 512)?, partitions(cx, disk, 4096)?);
        require("sfdisk", small == large, || format!("{small:?} with 512-byte sectors, {large:?} with 4096"))
    };
    let entry = |copy: &Copy| copy.flip(first_entry(copy, 4096)? + LAST_LBA);
    hold(
        &cx.artifact("raw")?,
        &judge,
        &[
            Defect::new("a wrong checksum in the header", &|copy| copy.flip(4096 + HEADER_CRC)),
            Defect::new("a wrong checksum in the backup", &|copy| copy.flip(copy.len()? - 4096 + HEADER_CRC)),
            Defect::new("another partition size", &entry),
            Defect::new("no header", &|copy| copy.write(4096, &[0; 92])),
        ],
    )
}

/// Byte offset of the first partition entry.
fn first_entry(copy: &Copy, sector: u64) -> io::Result<u64> {
    Ok(u64::from_le_bytes(copy.read(sector + ENTRIES_LBA)?) * sector)
}

/// A partition in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) kind: String,
    pub(super) start: u64,
    pub(super) len: u64,
}

#[derive(Deserialize)]
struct Report {
    partitiontable: Table,
}

#[derive(Deserialize)]
struct Table {
    label: String,
    sectorsize: u64,
    #[serde(default)]
    partitions: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    start: u64,
    size: u64,
    #[serde(rename = "type")]
    kind: String,
}

/// The partitions that `sfdisk` finds on a disk with sectors of `sector` bytes.
pub(super) fn partitions(cx: &Context, disk: &Path, sector: u64) -> Result<Vec<Partition>, TestError> {
    let list = tool::on(cx, "sfdisk", disk).args(["--sector-size", &sector.to_string(), "--json"]);
    let text = tool::report("sfdisk", &list.arg(tool::shown(disk)))?;
    let report: Report =
        serde_json::from_str(&text).map_err(|error| refuse("sfdisk", format!("{error}: {text}")))?;
    let table = report.partitiontable;
    require("sfdisk", table.label == "gpt" && table.sectorsize == sector, || format!("no GPT: {text}"))?;
    let in_bytes = |row: Row| Partition { kind: row.kind, start: row.start * sector, len: row.size * sector };
    Ok(table.partitions.into_iter().map(in_bytes).collect())
}

/// `qemu-img` finds no mistake in the image and the same bytes as in the raw disk.
pub(super) fn same_as_raw(cx: &Context, image: &Path, format: &str) -> Verdict {
    let raw = cx.artifact("raw")?;
    let check = tool::on(cx, "qemu-img", image).args(["check", "-f", format]).arg(tool::shown(image));
    tool::ask("qemu-img check", &check)?;
    let compare = tool::on(cx, "qemu-img", image)
        .read_only(&raw, "/raw")
        .args(["compare", "-f", format, "-F", "raw"])
        .arg(tool::shown(image))
        .arg("/raw");
    tool::ask("qemu-img compare", &compare).map(drop)
}

/// Offset of the first data of both formats: cluster 1 of the qcow2, the first grain of the VMDK.
pub(super) const FIRST_DATA: u64 = 64 << 10;

pub(super) fn qcow2(cx: &Context) -> Verdict {
    let judge = |image: &Path| same_as_raw(cx, image, "qcow2");
    hold(
        &cx.artifact("qcow2")?,
        &judge,
        &[
            Defect::new("a changed sector", &|copy| copy.flip(FIRST_DATA + 100)),
            Defect::new("a cluster that counts as free", &forget_cluster),
            Defect::new("a file that was cut", &|copy| copy.set_len(copy.len()? / 2)),
        ],
    )
}

/// Sets the reference count of cluster 1 to zero (QEMU docs/interop/qcow2.rst: table at header byte 48).
fn forget_cluster(copy: &Copy) -> io::Result<()> {
    let table = u64::from_be_bytes(copy.read(48)?);
    let block = u64::from_be_bytes(copy.read(table)?);
    copy.write(block + 2, &[0; 2])
}

pub(super) fn vmdk(cx: &Context) -> Verdict {
    let judge = |image: &Path| same_as_raw(cx, image, "vmdk");
    hold(
        &cx.artifact("vmdk")?,
        &judge,
        &[
            Defect::new("a changed grain", &|copy| copy.flip(FIRST_DATA + 100)),
            Defect::new("a file that was cut", &|copy| copy.set_len(copy.len()? / 2)),
        ],
    )
}
