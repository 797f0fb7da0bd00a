//! The disk that is inside the appliance, on plain devices and on VMware's.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::state_on;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Bus, Disk, DiskFormat, Kernel, Nic};
use crate::ready::Ready;

pub(super) fn virtio(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(|source| failed(cx, source))?;
    let disk = Disk::new(&disk_of(cx, dir.path())?, DiskFormat::Vmdk, Bus::VirtioBlk);
    cx.boot(&cx.uefi().disk(disk), &|ready| state_on(ready, "/dev/vda"))
}

/// The machine has no other disk and no other card, so what is there came through vmw_pvscsi and vmxnet3.
pub(super) fn vmware(cx: &Context) -> Result<(), TestError> {
    let dir = tempfile::tempdir().map_err(|source| failed(cx, source))?;
    let disk = Disk::new(&disk_of(cx, dir.path())?, DiskFormat::Vmdk, Bus::Pvscsi);
    // OVMF has no driver for this controller, so QEMU loads the unified kernel image itself.
    let machine = cx.uefi().kernel(Kernel::unified(&cx.artifact("efi")?)).disk(disk).nic(Nic::Vmxnet3);
    cx.boot(&machine, &|ready| {
        let mut facts = state_on(ready, "/dev/sda");
        facts.push(("vmxnet3 has an address".to_owned(), has_address(ready)));
        facts
    })
}

fn has_address(ready: &Ready) -> bool {
    ready.addresses.iter().any(|address| address.starts_with("10.0.2."))
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
