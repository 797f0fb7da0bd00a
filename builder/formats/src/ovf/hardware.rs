//! The virtual hardware of a machine: items of `CIM_ResourceAllocationSettingData` and VMware's settings.
//!
//! The schema wants the fields of an item in alphabetical order, with extensions behind them.

use super::{DISK_ID, NETWORK, OvfSpec};
use crate::xml::Xml;

/// The controller that the disk is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskController {
    /// VMware paravirtual SCSI.
    Pvscsi,
    /// NVM Express.
    Nvme,
}

/// The controller of the CD-ROM drive, which an OVF environment in an ISO image needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CdDrive {
    /// ATA: every hypervisor of x86 machines has it.
    Ide,
    /// AHCI: for machines without ATA.
    Sata,
}

/// `CIM_ResourceAllocationSettingData.ResourceType`, with VMware's reading of 20 ("other storage device").
mod resource {
    pub(super) const PROCESSOR: &str = "3";
    pub(super) const MEMORY: &str = "4";
    pub(super) const IDE_CONTROLLER: &str = "5";
    pub(super) const SCSI_CONTROLLER: &str = "6";
    pub(super) const ETHERNET: &str = "10";
    pub(super) const CD_DRIVE: &str = "15";
    pub(super) const DISK: &str = "17";
    pub(super) const STORAGE_CONTROLLER: &str = "20";
}

/// Names and values of elements or settings.
type Fields<'a> = &'a [(&'a str, &'a str)];

/// Writes the `VirtualHardwareSection`.
pub(super) fn section(xml: &mut Xml, spec: &OvfSpec<'_>) {
    // With both transports the guest finds its properties through the hypervisor's channel or, without a
    // driver for that, on a CD-ROM.
    let transport = [("ovf:transport", "com.vmware.guestInfo iso")];
    xml.element("VirtualHardwareSection", &transport, |xml| {
        xml.text("Info", "Virtual hardware");
        xml.element("System", &[], |xml| {
            xml.text("vssd:ElementName", "Virtual Hardware Family");
            xml.text("vssd:InstanceID", "0");
            xml.text("vssd:VirtualSystemIdentifier", spec.name);
            xml.text("vssd:VirtualSystemType", spec.hardware_family);
        });
        compute_items(xml, spec);
        disk_items(xml, spec.disk_controller);
        cd_items(xml, spec.cd_drive);
        network_item(xml);
        settings(xml);
    });
}

fn item(xml: &mut Xml, fields: Fields<'_>, config: Fields<'_>) {
    write_item(xml, &[], fields, config);
}

/// An item that an importer may leave out.
fn optional_item(xml: &mut Xml, fields: Fields<'_>, config: Fields<'_>) {
    write_item(xml, &[("ovf:required", "false")], fields, config);
}

fn write_item(xml: &mut Xml, attributes: Fields<'_>, fields: Fields<'_>, config: Fields<'_>) {
    xml.element("Item", attributes, |xml| {
        for (name, value) in fields {
            xml.text(&format!("rasd:{name}"), value);
        }
        for (key, value) in config {
            setting(xml, "vmw:Config", key, value);
        }
    });
}

/// A setting that other hypervisors may ignore.
fn setting(xml: &mut Xml, element: &str, key: &str, value: &str) {
    xml.empty(element, &[("ovf:required", "false"), ("vmw:key", key), ("vmw:value", value)]);
}

fn compute_items(xml: &mut Xml, spec: &OvfSpec<'_>) {
    let (cpus, memory) = (spec.cpus.to_string(), spec.memory_mib.to_string());
    item(
        xml,
        &[
            ("AllocationUnits", "hertz * 10^6"),
            ("Description", "Number of virtual CPUs"),
            ("ElementName", &format!("{cpus} virtual CPU(s)")),
            ("InstanceID", "1"),
            ("ResourceType", resource::PROCESSOR),
            ("VirtualQuantity", &cpus),
        ],
        &[],
    );
    item(
        xml,
        &[
            ("AllocationUnits", "byte * 2^20"),
            ("Description", "Memory size"),
            ("ElementName", &format!("{memory}MB of memory")),
            ("InstanceID", "2"),
            ("ResourceType", resource::MEMORY),
            ("VirtualQuantity", &memory),
        ],
        &[],
    );
}

fn disk_items(xml: &mut Xml, controller: DiskController) {
    // "VirtualSCSI" is how importers spell the paravirtual controller; they refuse other words.
    let (description, name, subtype, kind) = match controller {
        DiskController::Pvscsi => {
            ("SCSI controller", "SCSI controller 0", "VirtualSCSI", resource::SCSI_CONTROLLER)
        }
        DiskController::Nvme => {
            ("NVMe controller", "NVMe controller 0", "vmware.nvme.controller", resource::STORAGE_CONTROLLER)
        }
    };
    item(
        xml,
        &[
            ("Address", "0"),
            ("Description", description),
            ("ElementName", name),
            ("InstanceID", "3"),
            ("ResourceSubType", subtype),
            ("ResourceType", kind),
        ],
        &[],
    );
    item(
        xml,
        &[
            ("AddressOnParent", "0"),
            ("ElementName", "Hard disk 1"),
            ("HostResource", &format!("ovf:/disk/{DISK_ID}")),
            ("InstanceID", "4"),
            ("Parent", "3"),
            ("ResourceType", resource::DISK),
        ],
        &[("backing.writeThrough", "false")],
    );
}

fn cd_items(xml: &mut Xml, drive: CdDrive) {
    let address = ("Address", "0");
    let id = ("InstanceID", "5");
    match drive {
        CdDrive::Ide => {
            let kind = ("ResourceType", resource::IDE_CONTROLLER);
            let fields =
                [address, ("Description", "IDE controller"), ("ElementName", "IDE controller 0"), id, kind];
            item(xml, &fields, &[]);
        }
        CdDrive::Sata => {
            let kind = ("ResourceType", resource::STORAGE_CONTROLLER);
            let subtype = ("ResourceSubType", "vmware.sata.ahci");
            let (description, name) =
                (("Description", "SATA controller"), ("ElementName", "SATA controller 0"));
            item(xml, &[address, description, name, id, subtype, kind], &[]);
        }
    }
    optional_item(
        xml,
        &[
            ("AddressOnParent", "0"),
            ("AutomaticAllocation", "false"),
            ("ElementName", "CD/DVD drive 1"),
            ("InstanceID", "6"),
            ("Parent", "5"),
            ("ResourceSubType", "vmware.cdrom.remotepassthrough"),
            ("ResourceType", resource::CD_DRIVE),
        ],
        &[("backing.exclusive", "false"), ("connectable.allowGuestControl", "true")],
    );
}

fn network_item(xml: &mut Xml) {
    item(
        xml,
        &[
            ("AddressOnParent", "7"),
            ("AutomaticAllocation", "true"),
            ("Connection", NETWORK),
            ("Description", &format!("VmxNet3 ethernet adapter on \"{NETWORK}\"")),
            ("ElementName", "Network adapter 1"),
            ("InstanceID", "7"),
            ("ResourceSubType", "VmxNet3"),
            ("ResourceType", resource::ETHERNET),
        ],
        &[("connectable.allowGuestControl", "true"), ("wakeOnLanEnabled", "false")],
    );
}

fn settings(xml: &mut Xml) {
    for (key, value) in [
        ("firmware", "efi"),
        ("bootOptions.efiSecureBootEnabled", "false"),
        // The guest keeps its own time; a second source would make it jump.
        ("tools.syncTimeWithHost", "false"),
        // The guest's tools come with the guest.
        ("tools.toolsUpgradePolicy", "manual"),
    ] {
        setting(xml, "vmw:Config", key, value);
    }
    // Without it disks have no serial number, and storage drivers cannot tell volumes apart.
    setting(xml, "vmw:ExtraConfig", "disk.EnableUUID", "TRUE");
}
