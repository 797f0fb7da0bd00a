//! Boots over the network: BIOS with iPXE, UEFI over TFTP and over HTTP.

use std::path::Path;

use super::no_state;
use crate::Context;
use crate::context::{TestError, need_device};
use crate::machine::Network;

pub(super) fn ipxe(cx: &Context) -> Result<(), TestError> {
    let network = Network::Tftp { dir: cx.artifact("pxe")?, file: "boot.ipxe".to_owned() };
    cx.boot(&cx.bios().network(network), &no_state)
}

pub(super) fn pxe(cx: &Context) -> Result<(), TestError> {
    let network = Network::Tftp { dir: cx.artifact("pxe")?, file: format!("{}.efi", cx.stem) };
    cx.boot(&cx.uefi().network(network), &no_state)
}

pub(super) fn http(cx: &Context) -> Result<(), TestError> {
    need_device(Path::new("/dev/net/tun"))?;
    let network = Network::Http { dir: cx.artifact("pxe")?, file: format!("{}.efi", cx.stem) };
    cx.boot(&cx.uefi().network(network), &no_state)
}
