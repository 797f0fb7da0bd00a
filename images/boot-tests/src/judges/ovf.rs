//! The appliance as `cot` (Common OVF Tool) reads it: a reader of OVF that shares no code with ours or with govc.
//!
//! It checks the order of the archive, the manifest, sizes, and that every item refers to something that is there.

use std::io;
use std::path::Path;

use super::case::{Defect, hold};
use super::plant::Copy;
use super::{Verdict, appliance, require, tool};
use crate::Context;
use crate::context::TestError;

/// Prints what cot says about a package. Its complaints are lines of its log.
///
/// cot takes every manifest of OVF 1 for SHA-1; DSP0243 1.1.0 section 5.1 lets the manifest name its algorithm. Its check
/// of hardware is left out: it wants the names that cot itself writes (`VMXNET3`), and VMware writes `VmxNet3`.
const INFO: &str = r#"
import logging, sys, setuptools
from COT.vm_description import VMDescription
from COT.vm_description.ovf.ovf import OVF
complaints = []
class Complaints(logging.Handler):
    def emit(self, record):
        if record.levelno >= logging.WARNING:
            complaints.append(record.getMessage())
logging.getLogger("COT").addHandler(Complaints())
OVF.checksum_algorithm = property(lambda self: "sha256")
with VMDescription.factory(sys.argv[1], None) as vm:
    print(vm.info_string(200, "verbose"))
    disks = vm.disk_section.findall(vm.DISK)
    print("Capacities:", *(vm.get_capacity_from_disk(disk) for disk in disks))
print(*complaints, sep="\n")
sys.exit(1 if complaints else 0)
"#;

pub(super) fn package(cx: &Context) -> Verdict {
    let judge = |ova: &Path| info(cx, ova);
    let redescribe = |from: &'static str, to: &'static str| {
        move |copy: &Copy| -> io::Result<()> { appliance::redescribe(copy, from, to) }
    };
    let (unit, size, network, card, disk) = (
        redescribe("\"byte\"", "\"byte * 2^10\""),
        redescribe("ovf:size=\"", "ovf:size=\"1"),
        redescribe("<rasd:Connection>VM Network", "<rasd:Connection>No Network"),
        redescribe("<rasd:ResourceSubType>VmxNet3", "<rasd:ResourceSubType>E1000"),
        redescribe("ovf:/disk/vmdisk1", "ovf:/disk/vmdisk2"),
    );
    hold(
        &cx.artifact("ova")?,
        &judge,
        &[
            Defect::new("a manifest before its descriptor", &appliance::shuffle),
            Defect::new("a wrong digest in the manifest", &appliance::wrong_digest),
            Defect::new("a changed disk", &|copy| copy.flip(copy.len()? / 2)),
            Defect::new("another unit of capacity", &unit),
            Defect::new("another size of the disk", &size),
            Defect::new("a card on a network that is not there", &network),
            Defect::new("another network card", &card),
            Defect::new("an item of a disk that is not there", &disk),
            Defect::new("no host name property", &appliance::without_hostname),
        ],
    )
}

fn info(cx: &Context, ova: &Path) -> Verdict {
    let text = tool::ask("cot", &tool::python(cx, INFO, ova)?.arg(tool::shown(ova)))?;
    // Columns are padded with spaces.
    let lines: Vec<String> =
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let raw = cx.artifact("raw")?;
    let capacity = raw.metadata().map_err(TestError::file("read", &raw))?.len();
    let says = |words: &str| lines.iter().any(|line| line == words);
    let holds = |words: &str| lines.iter().any(|line| line.contains(words));
    for (what, is_so) in [
        ("the disk's capacity", says(&format!("Capacities: {capacity}"))),
        (
            "the disk's place",
            lines.iter().any(|line| line.starts_with("disk.vmdk ") && line.contains(" harddisk @ ")),
        ),
        ("the hardware family", says(&format!("System types: {}", cx.arch.vmware_hardware()))),
        ("the network card", says("Ethernet device types: VmxNet3")),
        ("the transports", says("Transport types: com.vmware.guestInfo iso")),
        ("the network", holds("Network adapter 1 : VM Network")),
    ] {
        require("cot", is_so, || format!("{what} is wrong:\n{text}"))?;
    }
    for property in lepton_formats::ovf::HOST_PROPERTIES {
        let key = format!("<{}> {} \"{}\"", property.key, property.label, property.value);
        require("cot", says(&key), || format!("the property {} is missing:\n{text}", property.key))?;
    }
    Ok(())
}
