//! QEMU's fw_cfg as a source: the item `opt/lepton/config`, which the kernel shows below `/sys/firmware`.

use std::io;

use super::{Layer, Look, volume};

/// The kernel's file of the item.
const ITEM: &str = "/sys/firmware/qemu_fw_cfg/by_name/opt/lepton/config/raw";

pub(super) fn look() -> Look {
    match volume::read_bounded(ITEM.as_ref()) {
        Ok(bytes) => {
            let mut layer = Layer::default();
            layer.add(lepton_config::parse_bytes("fw_cfg", &bytes));
            Ok(layer)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err("no item opt/lepton/config".to_owned()),
        Err(error) => Err(format!("cannot read {ITEM}: {error}")),
    }
}
