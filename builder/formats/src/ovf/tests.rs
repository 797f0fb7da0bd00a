//! A golden descriptor, and the differences that the choices make.

use expect_test::{expect, expect_file};

use super::*;

fn spec() -> OvfSpec<'static> {
    OvfSpec {
        name: "node & more",
        product: Product { class: "lepton", name: "Lepton node", vendor: "Lepton", version: "0.1.0" },
        disk: Disk { file: "disk.vmdk", file_len: 31_810_560, capacity: 1 << 30, populated: 31_588_352 },
        guest: Guest { cim_id: 101, vmware_id: "other4xLinux64Guest", description: "Lepton (64-bit)" },
        hardware_family: "vmx-15",
        cpus: 2,
        memory_mib: 2048,
        disk_controller: DiskController::Pvscsi,
        cd_drive: CdDrive::Ide,
        properties: HOST_PROPERTIES,
    }
}

#[test]
fn whole_descriptor() {
    expect_file!["golden.ovf"].assert_eq(&descriptor(&spec()));
}

#[test]
fn other_controllers() {
    let other = OvfSpec { disk_controller: DiskController::Nvme, cd_drive: CdDrive::Sata, ..spec() };
    let (before, after) = (descriptor(&spec()), descriptor(&other));
    let changed: Vec<&str> = after.lines().filter(|line| !before.contains(*line)).map(str::trim).collect();
    expect![[r#"
        <rasd:Description>NVMe controller</rasd:Description>
        <rasd:ElementName>NVMe controller 0</rasd:ElementName>
        <rasd:ResourceSubType>vmware.nvme.controller</rasd:ResourceSubType>
        <rasd:ResourceType>20</rasd:ResourceType>
        <rasd:Description>SATA controller</rasd:Description>
        <rasd:ElementName>SATA controller 0</rasd:ElementName>
        <rasd:ResourceSubType>vmware.sata.ahci</rasd:ResourceSubType>
        <rasd:ResourceType>20</rasd:ResourceType>"#]]
    .assert_eq(&changed.join("\n"));
}

/// The schema of an item is a sequence: its elements come in alphabetical order.
#[test]
fn item_fields_are_sorted() {
    let text = descriptor(&spec());
    for item in text.split("<Item").skip(1) {
        let item = &item[..item.find("</Item>").unwrap()];
        let names: Vec<&str> =
            item.lines().filter_map(|line| line.trim().strip_prefix("<rasd:")?.split('>').next()).collect();
        assert!(names.len() > 4 && names.is_sorted(), "{names:?}");
    }
}

/// Keys become parts of dotted names (DSP0243 9.5).
#[test]
fn keys_have_no_dots() {
    assert!(HOST_PROPERTIES.iter().all(|property| !property.key.contains(['.', ':'])));
}
