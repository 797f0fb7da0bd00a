//! What the boot loader says of the disk that the running system was started from.
//!
//! Programs that firmware reads from a partition leave its identifier in an EFI variable: systemd-boot, and the stub of
//! a unified kernel image without it. A CD and the network have no partition and leave nothing.

use std::fs::{self, File};
use std::path::Path;

use crate::gpt::{self, PartitionId};
use crate::list::Disk;

/// Where the variables are, when the kernel can ask the firmware for them.
const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// In the vendor name space of the Boot Loader Interface.
const PARTITION: &str = "LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// The partition that the running system was started from, when a boot loader says so.
pub fn partition() -> Option<PartitionId> {
    fs::read(Path::new(VARIABLES).join(PARTITION)).ok().and_then(|bytes| parse(&bytes))
}

/// Whether a missing answer means nothing: there is EFI firmware, and its variables cannot be read.
pub fn is_mute() -> bool {
    #[expect(clippy::disallowed_methods, reason = "only whether there is any variable is asked")]
    let has_variables = || fs::read_dir(VARIABLES).is_ok_and(|mut entries| entries.next().is_some());
    Path::new("/sys/firmware/efi").exists() && !has_variables()
}

/// Whether `disk` holds the partition.
pub fn is_on(disk: &Disk, id: PartitionId) -> bool {
    File::open(disk.path()).and_then(|mut file| gpt::holds(&mut file, disk.sector, id)).unwrap_or(false)
}

/// The identifier in an efivarfs file: 4 bytes of attributes, then UTF-16LE text with a final NUL.
fn parse(variable: &[u8]) -> Option<PartitionId> {
    let units = variable.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text = String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()?;
    PartitionId::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loader_variable() {
        let id = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(id.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        assert_eq!(parse(&bytes), PartitionId::parse(id));
        assert_eq!(parse(&bytes[..40]), None);
        assert_eq!(parse(&[]), None);
    }
}
