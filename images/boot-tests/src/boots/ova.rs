//! The disk that is inside the appliance, on plain devices and on VMware's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::state_on;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Bus, Disk, DiskFormat, Kernel, Nic};

pub(super) fn virtio(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(|source| failed(cx, source))?;
    let disk = Disk::new(&disk_of(cx, dir.path())?, DiskFormat::Vmdk, Bus::VirtioBlk);
    cx.boot(&cx.uefi().disk(disk), &|ready| state_on(ready, "/dev/vda"))
}

/// The controller that the appliance's own description names on aarch64.
pub(super) fn nvme(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(|source| failed(cx, source))?;
    let disk = Disk::new(&disk_of(cx, dir.path())?, DiskFormat::Vmdk, Bus::Nvme);
    cx.boot(&cx.uefi().disk(disk), &|ready| state_on(ready, "/dev/nvme0n1"))
}

/// The machine has no other disk, so a state partition came through vmw_pvscsi; the card's driver names its device.
pub(super) fn vmware(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(|source| failed(cx, source))?;
    let disk = Disk::new(&disk_of(cx, dir.path())?, DiskFormat::Vmdk, Bus::Pvscsi);
    // OVMF has no driver for this controller, so QEMU loads the unified kernel image itself.
    // No boot loader names the boot disk then, so PID 1 is told to wait for one.
    let cmdline = format!("{} ignore_loglevel lepton.state-wait=30", cx.cmdline);
    let kernel = Kernel::unified(&cx.artifact("efi")?).cmdline(&cmdline);
    let mut guest = cx.start(&cx.uefi().kernel(kernel).disk(disk).nic(Nic::Vmxnet3))?;
    let ready = guest.wait_ready()?;
    for (fact, holds) in state_on(&ready, "/dev/sda") {
        guest.require(holds, || fact)?;
    }
    // A built-in driver announces itself always, but a PCI address follows only when it has found its device.
    for driver in ["vmw_pvscsi 0000:", "vmxnet3 0000:"] {
        guest.require(guest.console().contains(driver), || format!("the kernel log names {driver}"))?;
    }
    Ok(guest.power_off()?)
}

/// Takes the only VMDK out of the appliance, into `dir`.
fn disk_of(cx: &Context, dir: &Path) -> Result<PathBuf, TestError> {
    let archive = File::open(cx.artifact("ova")?).map_err(|source| failed(cx, source))?;
    unpack(archive, dir).map_err(|source| failed(cx, source))
}

fn unpack(archive: File, dir: &Path) -> io::Result<PathBuf> {
    for entry in tar::Archive::new(archive).entries()? {
        let mut entry = entry?;
        if entry.path()?.extension().is_some_and(|extension| extension == "vmdk") {
            let path = dir.join("disk.vmdk");
            io::copy(&mut entry, &mut File::create(&path)?)?;
            return Ok(path);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "no member ends in .vmdk"))
}

fn failed(cx: &Context, source: io::Error) -> TestError {
    TestError::Appliance { path: cx.artifacts.join(format!("{}.ova", cx.stem)), source }
}
