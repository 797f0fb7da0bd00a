//! Boots over the network: BIOS with iPXE, UEFI over TFTP and over HTTP.

use std::path::Path;

use super::no_state;
use crate::Context;
use crate::context::{TestError, need_device};
use crate::machine::Network;

/// What OVMF prints when the file has come but the connection was not closed in time. It tries each boot option
/// once, so a machine that was busy for a moment gets a second chance; a file that cannot boot fails both times.
pub(super) const STALLED: &str = "): Load Error";

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
    let machine = cx.uefi().network(network);
    match cx.boot(&machine, &no_state) {
        Err(error) if error.to_string().contains(STALLED) => cx.boot(&machine, &no_state),
        result => result,
    }
}
