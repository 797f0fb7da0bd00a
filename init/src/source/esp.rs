//! The file `lepton/config.toml` of the EFI system partition, for hosts that boot from a disk.
//!
//! It is the partition that the boot loader was read from; without a loader that says so, any of that type.

use lepton_config::parse_bytes;

use super::volume::Volumes;
use super::{Layer, Look};
use crate::state;

const FILE: &str = "lepton/config.toml";

pub(super) fn look(volumes: &Volumes) -> Look {
    let loader = state::loader_partition();
    let mut reason = match loader {
        Some(_) => "the boot loader's partition has no lepton/config.toml".to_owned(),
        None => "no EFI system partition with lepton/config.toml".to_owned(),
    };
    for volume in volumes.esps(loader) {
        let read = volume.with_files(|files| files.read(FILE));
        match read.map_err(|error| format!("cannot mount it: {error}")).flatten() {
            Ok(Some(bytes)) => {
                let mut layer = Layer::default();
                layer.add(parse_bytes("esp: lepton/config.toml", &bytes));
                return Ok(layer);
            }
            Ok(None) => {}
            Err(error) => reason = format!("{}: {error}", volume.device),
        }
    }
    Err(reason)
}
