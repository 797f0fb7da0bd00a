//! The `iso` transport of an OVF environment (DSP0243 section 9.1): a CD with the file `ovf-env.xml`.

use super::volume::{OVF_LABEL, Volume, Volumes};
use super::{Layer, Look, ovf_env};

/// The one name the standard gives.
const FILE: &str = "ovf-env.xml";

/// The environment of the first CD that has one. No label is prescribed, so every medium in an optical drive is asked.
pub(super) fn look(volumes: &Volumes) -> Look {
    let mut reason = "no CD with ovf-env.xml".to_owned();
    for volume in volumes.iter().filter(|volume| volume.is_optical() || volume.label == OVF_LABEL) {
        match read(volume) {
            Ok(Some(bytes)) => {
                let mut layer = Layer::default();
                ovf_env::add("ovf-env", &bytes, &mut layer);
                return Ok(layer);
            }
            Ok(None) => {}
            Err(error) => reason = format!("{}: {error}", volume.device),
        }
    }
    Err(reason)
}

fn read(volume: &Volume) -> Result<Option<Vec<u8>>, String> {
    let read = volume.with_files(|files| files.read(FILE));
    read.map_err(|error| format!("cannot mount it: {error}"))?
}
