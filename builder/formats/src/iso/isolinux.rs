//! The configuration of isolinux, as text: one entry, started at once, with a serial console.

use super::IsoError;
use crate::uki::CMDLINE_MAX;

/// What isolinux puts around the arguments: the kernel sees its whole line cut at `CMDLINE_MAX` bytes.
const AROUND: &str = "BOOT_IMAGE=/vmlinuz  initrd=/initrd";

/// The contents of `isolinux.cfg` for the kernel command line `cmdline`.
///
/// isolinux adds `BOOT_IMAGE=` and `initrd=` to the line, looks for `initrd=` in it, and ends it at a line break.
pub fn isolinux_cfg(cmdline: &str) -> Result<String, IsoError> {
    let most = CMDLINE_MAX - AROUND.len();
    if cmdline.len() > most {
        return Err(IsoError::CmdlineLength { len: cmdline.len(), most });
    }
    if cmdline.contains("initrd=") || cmdline.chars().any(char::is_control) {
        return Err(IsoError::Cmdline { cmdline: cmdline.to_owned() });
    }
    Ok(format!(
        "SERIAL 0 115200\nDEFAULT lepton\nPROMPT 0\nTIMEOUT 0\nLABEL lepton\n  LINUX /vmlinuz\n  INITRD /initrd\n  APPEND {cmdline}\n"
    ))
}
