//! The virtual appliance: descriptor, digests and disk in one archive.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use lepton_formats::ovf::{
    CdDrive, Disk, DiskController, Guest, HOST_PROPERTIES, OvfSpec, Product, descriptor,
};
use lepton_formats::{Content, Seed, Sparse, ova};

use super::{ArtifactError, Payload, create, disk, file_error};
use crate::arch::Arch;

/// `CIM_OperatingSystem.OSType` of 64-bit Linux.
const CIM_LINUX_64: u16 = 101;

/// Writes the archive to `path`; the disk is written beside it first, because its size and digest come before it.
pub(super) fn write(
    payload: &Payload<'_>,
    raw: &Sparse,
    seed: &Seed,
    path: &Path,
) -> Result<(), ArtifactError> {
    let plan = payload.locked.plan();
    let disk_path = path.with_extension("ova-disk");
    let stats = disk::vmdk(raw, seed, &disk_path)?;
    // VMware's PVSCSI driver exists for x86 only; on Arm the disk hangs on NVMe.
    let (disk_controller, cd_drive) = match plan.arch {
        Arch::X86_64 => (DiskController::Pvscsi, CdDrive::Ide),
        Arch::Aarch64 => (DiskController::Nvme, CdDrive::Sata),
    };
    let text = descriptor(&OvfSpec {
        name: &format!("lepton-{}", plan.image),
        product: Product { class: "lepton", name: "Lepton", vendor: "Lepton", version: plan.version },
        disk: Disk {
            file: ova::DISK,
            file_len: stats.file_len,
            capacity: stats.capacity,
            populated: stats.populated,
        },
        guest: Guest {
            cim_id: CIM_LINUX_64,
            vmware_id: plan.arch.vmware_guest(),
            description: "Lepton (64-bit Linux)",
        },
        hardware_family: plan.arch.vmware_hardware(),
        cpus: plan.machine.cpus,
        memory_mib: plan.machine.memory_mib.into(),
        disk_controller,
        cd_drive,
        properties: HOST_PROPERTIES,
    });
    let content = Content::open(&disk_path).map_err(file_error("read", &disk_path))?;
    let mut out = BufWriter::new(create(path)?);
    ova::write(&text, &content, payload.locked.date(), &mut out)?;
    out.flush().map_err(file_error("write", path))?;
    fs::remove_file(&disk_path).map_err(file_error("remove", disk_path))
}
