//! The virtual appliance as importers take it: `tar` for the order, `sha256sum` for the manifest, an XML parser for
//! what the descriptor promises.

use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::sandbox::Sandbox;
use serde::Deserialize;

use super::appliance::{redescribe, rewrite};
use super::case::{Defect, hold, scratch};
use super::{Verdict, appliance, disk, refuse, require, tool};
use crate::Context;
use crate::context::TestError;

/// The order that importers need, which read the archive as a stream (DSP0243 section 5.3).
const MEMBERS: [&str; 3] = ["disk.ovf", "disk.mf", "disk.vmdk"];

/// Prints as JSON what an importer takes from a descriptor: namespaces are left out, because both kinds of attribute
/// are read alike.
const DESCRIPTOR: &str = r#"
import json, sys, xml.etree.ElementTree as tree
local = lambda name: name.rpartition("}")[2]
kinds = "File", "Disk", "VirtualSystemType", "ResourceSubType", "OperatingSystemSection", "Config", "ExtraConfig"
found = {kind: [] for kind in kinds}
for element in tree.parse(sys.argv[1]).iter():
    if local(element.tag) in found:
        attributes = {local(key): value for key, value in element.attrib.items()}
        found[local(element.tag)].append(attributes or {"text": element.text})
json.dump(found, sys.stdout)
"#;

#[derive(Debug, Deserialize)]
struct Descriptor {
    #[serde(rename = "File")]
    files: Vec<FileReference>,
    #[serde(rename = "Disk")]
    disks: Vec<DiskReference>,
    #[serde(rename = "VirtualSystemType")]
    families: Vec<Text>,
    #[serde(rename = "ResourceSubType")]
    devices: Vec<Text>,
    #[serde(rename = "OperatingSystemSection")]
    guests: Vec<Guest>,
    #[serde(rename = "Config")]
    settings: Vec<Setting>,
    #[serde(rename = "ExtraConfig")]
    extra_settings: Vec<Setting>,
}

#[derive(Debug, Deserialize)]
struct Guest {
    #[serde(rename = "osType")]
    vmware_id: String,
}

#[derive(Debug, Deserialize)]
struct Setting {
    key: String,
    value: String,
    required: String,
}

/// VMware's settings, which no other reader in these tests looks at.
const SETTINGS: [(&str, &str); 4] = [
    ("firmware", "efi"),
    ("bootOptions.efiSecureBootEnabled", "false"),
    ("tools.syncTimeWithHost", "false"),
    ("tools.toolsUpgradePolicy", "manual"),
];
/// Without it disks have no serial number.
const EXTRA_SETTINGS: [(&str, &str); 1] = [("disk.EnableUUID", "TRUE")];

#[derive(Debug, Deserialize)]
struct FileReference {
    href: String,
    id: String,
    size: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiskReference {
    capacity: String,
    capacity_allocation_units: String,
    file_ref: String,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Text {
    text: String,
}

pub(super) fn appliance(cx: &Context) -> Verdict {
    let judge = |ova: &Path| {
        let dir = scratch()?;
        order(cx, ova)?;
        unpack(cx, ova, dir.path())?;
        manifest(cx, dir.path())?;
        descriptor(cx, dir.path())?;
        disk::same_as_raw(cx, &dir.path().join("disk.vmdk"), "vmdk")
    };
    let controller = devices(cx.arch)[0];
    hold(
        &cx.artifact("ova")?,
        &judge,
        &[
            Defect::new("a manifest before its descriptor", &appliance::shuffle),
            Defect::new("a member too many", &|copy| {
                rewrite(copy, |files| files.push(("more".to_owned(), vec![0])))
            }),
            Defect::new("a changed disk", &|copy| copy.flip(copy.len()? / 2)),
            Defect::new("a disk without a digest", &|copy| {
                rewrite(copy, |files| appliance::keep_line(&mut files[1].1))
            }),
            Defect::new("a descriptor that is no XML", &|copy| redescribe(copy, "</Envelope>", "")),
            Defect::new("another unit of capacity", &|copy| redescribe(copy, "\"byte\"", "\"byte * 2^20\"")),
            Defect::new("another capacity", &|copy| redescribe(copy, "capacity=\"", "capacity=\"1")),
            Defect::new("another size of the disk", &|copy| redescribe(copy, "size=\"", "size=\"1")),
            Defect::new("other firmware", &|copy| redescribe(copy, "\"efi\"", "\"bios\"")),
            Defect::new("disks without serial numbers", &|copy| redescribe(copy, "EnableUUID", "EnableUUIX")),
            Defect::new("another disk controller", &|copy| redescribe(copy, controller, "lsilogic")),
            Defect::new("another network card", &|copy| redescribe(copy, "Type>VmxNet3", "Type>E1000")),
            Defect::new("another guest", &|copy| redescribe(copy, cx.arch.vmware_guest(), "otherGuest")),
            Defect::new("newer hardware", &|copy| redescribe(copy, ">vmx-", ">vmx-9")),
        ],
    )
}

fn order(cx: &Context, ova: &Path) -> Verdict {
    let list = tool::on(cx, "tar", ova).args(["--list", "--verbose", "--numeric-owner", "--file"]);
    let text = tool::ask("tar", &list.arg(tool::shown(ova)))?;
    let is_plain = |line: &str| line.starts_with("-rw-r--r-- 0/0 ");
    let names: Vec<&str> =
        text.lines().filter(|line| is_plain(line)).filter_map(|line| line.split(' ').next_back()).collect();
    require("tar", names == MEMBERS && text.lines().count() == MEMBERS.len(), || text)
}

fn unpack(cx: &Context, ova: &Path, dir: &Path) -> Verdict {
    let extract = tool::on(cx, "tar", ova).writable(dir, "/out").args([
        "--extract",
        "--no-same-owner",
        "--directory=/out",
    ]);
    tool::ask("tar", &extract.arg("--file").arg(tool::shown(ova))).map(drop)
}

fn manifest(cx: &Context, dir: &Path) -> Verdict {
    let check = Sandbox::new(&cx.tools, "sha256sum").read_only(dir, "/in").cwd("/in");
    let text = tool::ask("sha256sum", &check.args(["--check", "--strict", "disk.mf"]))?;
    require("sha256sum", text == "disk.ovf: OK\ndisk.vmdk: OK\n", || text)
}

fn descriptor(cx: &Context, dir: &Path) -> Verdict {
    let (path, vmdk, raw) = (dir.join("disk.ovf"), dir.join("disk.vmdk"), cx.artifact("raw")?);
    let text = tool::report(
        "python3",
        &tool::on(cx, "python3", &path).args(["-c", DESCRIPTOR]).arg(tool::shown(&path)),
    )?;
    let found: Descriptor =
        serde_json::from_str(&text).map_err(|error| refuse("OVF", format!("{error}: {text}")))?;
    let ([file], [disk], [family]) = (&found.files[..], &found.disks[..], &found.families[..]) else {
        return Err(refuse("OVF", format!("not one disk and one machine: {found:?}")));
    };
    let len = |path: &Path| path.metadata().map(|meta| meta.len()).map_err(TestError::file("read", path));
    for (what, holds) in [
        ("the disk's size", file.size == len(&vmdk)?.to_string()),
        ("the disk's name", file.href == "disk.vmdk" && disk.file_ref == file.id),
        ("the disk's format", disk.format.ends_with("#streamOptimized")),
        ("capacity", disk.capacity == len(&raw)?.to_string()),
        // Content libraries compute with the number as it stands, whatever the unit.
        ("the capacity's unit", disk.capacity_allocation_units == "byte"),
        ("the hardware family", family.text == cx.arch.vmware_hardware()),
        ("the guest", matches!(&found.guests[..], [guest] if guest.vmware_id == cx.arch.vmware_guest())),
        ("the devices", found.devices.iter().map(|device| &*device.text).eq(devices(cx.arch))),
        ("a setting", have(&found.settings, &SETTINGS)),
        ("an extra setting", have(&found.extra_settings, &EXTRA_SETTINGS)),
    ] {
        require("OVF", holds, || format!("{what} is wrong: {found:?}"))?;
    }
    Ok(())
}

/// The controllers and cards, in the order of their items: paravirtual where the kernel has a driver.
fn devices(arch: Arch) -> Vec<&'static str> {
    match arch {
        Arch::X86_64 => vec!["VirtualSCSI", "vmware.cdrom.remotepassthrough", "VmxNet3"],
        Arch::Aarch64 => {
            vec!["vmware.nvme.controller", "vmware.sata.ahci", "vmware.cdrom.remotepassthrough", "VmxNet3"]
        }
    }
}

/// Each of `wanted` is there once, and no importer has to understand any.
fn have(found: &[Setting], wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| {
        let mut of_key = found.iter().filter(|setting| setting.key == *key);
        matches!((of_key.next(), of_key.next()), (Some(setting), None) if setting.value == *value)
    }) && found.iter().all(|setting| setting.required == "false")
}
