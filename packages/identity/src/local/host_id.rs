//! What this host is called: the same after each restart and update, another one on each copy of a disk.

use std::path::Path;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::files;

/// Of 32 hexadecimal digits, as machine-id(5) has them.
const BYTES: usize = 16;
/// What makes it another one than those that others make of the same number.
const FOR: &[u8] = b"lepton host identity\0";

/// The firmware's number of the machine as a digest; else one that is made up once and kept in that file.
pub(crate) fn host_id(product_uuid: &Path, kept: &Path) -> Result<String, super::LocalError> {
    // Not read as a file of ours: it is the kernel's, and may be missing or closed.
    let uuid = std::fs::read_to_string(product_uuid).unwrap_or_default();
    let uuid: Vec<u8> =
        uuid.bytes().filter(u8::is_ascii_hexdigit).map(|byte| byte.to_ascii_lowercase()).collect();
    // Machines that have no number say that with the same digit everywhere.
    let has_number = uuid.len() == 32 && uuid.iter().any(|digit| Some(digit) != uuid.first());
    if has_number {
        let digest = digest(&SHA256, &[FOR, &uuid].concat());
        return Ok(hex(digest.as_ref().get(..BYTES).unwrap_or_default()));
    }
    let is_id = |text: &str| text.len() == 2 * BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some(text) = files::read(kept)?.and_then(|text| String::from_utf8(text.to_vec()).ok())
        && is_id(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    let mut made = [0; BYTES];
    SystemRandom::new().fill(&mut made).map_err(|_| super::LocalError::Key)?;
    files::write(kept, hex(&made).as_bytes())?;
    Ok(hex(&made))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_firmware_or_made_up_once() {
        let folder = tempfile::tempdir().unwrap();
        let (uuid, kept) = (folder.path().join("uuid"), folder.path().join("kept"));
        let id = || host_id(&uuid, &kept).unwrap();
        let made = id();
        assert_eq!((made.len(), id()), (32, made.clone()));
        for none in ["00000000-0000-0000-0000-000000000000\n", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", "x"] {
            std::fs::write(&uuid, none).unwrap();
            assert_eq!(id(), made);
        }
        std::fs::write(&uuid, "4C4C4544-0042-3510-8052-B7C04F4A3732\n").unwrap();
        let first = id();
        std::fs::write(&uuid, "4c4c4544-0042-3510-8052-b7c04f4a3732").unwrap();
        assert_eq!(id(), first);
        std::fs::write(&uuid, "4c4c4544-0042-3510-8052-b7c04f4a3733").unwrap();
        assert_ne!(id(), first, "a copy is another host");
        assert_ne!(first, made);
    }
}
