//! The ISO as a CD and as a USB stick, under both kinds of firmware.

use super::no_state;
use crate::Context;
use crate::context::TestError;
use crate::machine::Bus;

pub(super) fn cd_bios(cx: &Context) -> Result<(), TestError> {
    cx.boot(&cx.bios().disk(cx.disk("iso", Bus::Cdrom)?), &no_state)
}

pub(super) fn usb_bios(cx: &Context) -> Result<(), TestError> {
    cx.boot(&cx.bios().disk(cx.disk("iso", Bus::Usb)?), &no_state)
}

pub(super) fn cd_uefi(cx: &Context) -> Result<(), TestError> {
    cx.boot(&cx.uefi().disk(cx.disk("iso", Bus::Cdrom)?), &no_state)
}

pub(super) fn usb_uefi(cx: &Context) -> Result<(), TestError> {
    cx.boot(&cx.uefi().disk(cx.disk("iso", Bus::Usb)?), &no_state)
}
