//! Disk images on the buses and with the sector sizes that firmware can boot from.

use super::state_on;
use crate::Context;
use crate::context::TestError;
use crate::machine::{Bus, Disk};

pub(super) fn raw_virtio(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("raw", Bus::VirtioBlk)?, "/dev/vda")
}

pub(super) fn raw_nvme(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("raw", Bus::Nvme)?, "/dev/nvme0n1")
}

pub(super) fn raw_ahci(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("raw", Bus::Ahci)?, "/dev/sda")
}

pub(super) fn raw_4k(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("raw", Bus::VirtioBlk)?.sector_bytes(4096), "/dev/vda")
}

pub(super) fn raw_usb(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("raw", Bus::Usb)?, "/dev/sda")
}

pub(super) fn qcow2(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("qcow2", Bus::VirtioBlk)?, "/dev/vda")
}

pub(super) fn vmdk(cx: &Context) -> Result<(), TestError> {
    boots_from(cx, cx.disk("vmdk", Bus::VirtioBlk)?, "/dev/vda")
}

fn boots_from(cx: &Context, disk: Disk, device: &str) -> Result<(), TestError> {
    cx.boot(&cx.uefi().disk(disk), &|ready| state_on(ready, device))
}
