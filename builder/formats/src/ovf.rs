//! OVF 1.1 descriptors (DSP0243 1.1.0) of a virtual machine with one disk and one network card.
//!
//! A descriptor is text made from a plain struct. Which guest, hardware family and controllers suit an
//! architecture is for the caller to say.

mod hardware;
mod properties;

use crate::xml::Xml;

pub use hardware::{CdDrive, DiskController};
pub use properties::{HOST_PROPERTIES, Property, Visibility};

/// Ties the file, the disk and the disk's place in the hardware together.
const FILE_ID: &str = "file1";
const DISK_ID: &str = "vmdisk1";
const NETWORK: &str = "VM Network";

/// What a descriptor says.
#[derive(Clone, Copy, Debug)]
pub struct OvfSpec<'a> {
    /// Identifier and proposed name of the virtual machine.
    pub name: &'a str,
    /// What the machine runs.
    pub product: Product<'a>,
    /// The disk, a stream-optimized VMDK.
    pub disk: Disk<'a>,
    /// The guest that the hypervisor should expect.
    pub guest: Guest<'a>,
    /// Virtual hardware families that can run it, separated by spaces: `vmx-15`.
    pub hardware_family: &'a str,
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Where the disk is attached.
    pub disk_controller: DiskController,
    /// Where the CD-ROM drive is attached.
    pub cd_drive: CdDrive,
    /// What the user is asked for on deployment.
    pub properties: &'a [Property<'a>],
}

/// What a machine runs.
#[derive(Clone, Copy, Debug)]
pub struct Product<'a> {
    /// Prefix of the property keys: key `config` of class `lepton` reaches the guest as `lepton.config`.
    pub class: &'a str,
    /// Name for people.
    pub name: &'a str,
    /// Who made it.
    pub vendor: &'a str,
    /// Its version.
    pub version: &'a str,
}

/// A disk file beside the descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Disk<'a> {
    /// Name of the file.
    pub file: &'a str,
    /// Bytes of the file.
    pub file_len: u64,
    /// Bytes that the guest sees.
    pub capacity: u64,
    /// Bytes that the disk takes up once it is imported.
    pub populated: u64,
}

/// A guest operating system.
#[derive(Clone, Copy, Debug)]
pub struct Guest<'a> {
    /// `CIM_OperatingSystem.OSType`: 101 is 64-bit Linux.
    pub cim_id: u16,
    /// `vmw:osType`. A host warns, or refuses, when it does not know the identifier, so it should not be
    /// newer than the oldest host of the hardware family.
    pub vmware_id: &'a str,
    /// Name for people.
    pub description: &'a str,
}

/// The descriptor as XML text.
pub fn descriptor(spec: &OvfSpec<'_>) -> String {
    const CIM: &str = "http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2";
    let namespaces = [
        ("xmlns", "http://schemas.dmtf.org/ovf/envelope/1"),
        ("xmlns:ovf", "http://schemas.dmtf.org/ovf/envelope/1"),
        ("xmlns:rasd", &format!("{CIM}/CIM_ResourceAllocationSettingData")),
        ("xmlns:vmw", "http://www.vmware.com/schema/ovf"),
        ("xmlns:vssd", &format!("{CIM}/CIM_VirtualSystemSettingData")),
    ];
    Xml::document("Envelope", &namespaces, |xml| {
        disk_sections(xml, &spec.disk);
        xml.element("NetworkSection", &[], |xml| {
            xml.text("Info", "The networks that the machine is attached to");
            xml.element("Network", &[("ovf:name", NETWORK)], |xml| {
                xml.text("Description", "The network of the first card");
            });
        });
        xml.element("VirtualSystem", &[("ovf:id", spec.name)], |xml| {
            xml.text("Info", "A virtual machine");
            xml.text("Name", spec.name);
            let guest = [("ovf:id", &*spec.guest.cim_id.to_string()), ("vmw:osType", spec.guest.vmware_id)];
            xml.element("OperatingSystemSection", &guest, |xml| {
                xml.text("Info", "The guest operating system");
                xml.text("Description", spec.guest.description);
            });
            hardware::section(xml, spec);
            properties::section(xml, &spec.product, spec.properties);
        });
    })
}

fn disk_sections(xml: &mut Xml, disk: &Disk<'_>) {
    xml.element("References", &[], |xml| {
        let size = disk.file_len.to_string();
        xml.empty("File", &[("ovf:href", disk.file), ("ovf:id", FILE_ID), ("ovf:size", &size)]);
    });
    xml.element("DiskSection", &[], |xml| {
        xml.text("Info", "Virtual disks");
        // Importers have mixed up other units: a count of bytes is the one that cannot be misread.
        xml.empty(
            "Disk",
            &[
                ("ovf:capacity", &disk.capacity.to_string()),
                ("ovf:capacityAllocationUnits", "byte"),
                ("ovf:diskId", DISK_ID),
                ("ovf:fileRef", FILE_ID),
                ("ovf:format", "http://www.vmware.com/interfaces/specifications/vmdk.html#streamOptimized"),
                ("ovf:populatedSize", &disk.populated.to_string()),
            ],
        );
    });
}

#[cfg(test)]
mod tests;
