//! File system labels from the first bytes of a device: ISO 9660, FAT and ext2/3/4, as far as a source needs them.
//!
//! The bytes may be anybody's: nothing is believed but the label, and the kernel judges the rest when it mounts.

use std::io::{self, Read, Seek, SeekFrom};

/// A file system that can hold a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileSystem {
    Iso9660,
    Vfat,
    Ext4,
}

impl FileSystem {
    /// The kernel's name of the type.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Iso9660 => "iso9660",
            Self::Vfat => "vfat",
            Self::Ext4 => "ext4",
        }
    }
}

/// Start of the primary volume descriptor (ECMA-119 section 8.4): sector 16 of 2048 bytes.
const ISO_DESCRIPTOR: u64 = 16 * 2048;

/// The file system of a device and its label without padding.
pub(super) fn read(device: &mut (impl Read + Seek)) -> io::Result<Option<(FileSystem, String)>> {
    let mut start = [0; 2048];
    device.seek(SeekFrom::Start(0))?;
    device.read_exact(&mut start)?;
    if let Some(found) = ext4(&start).or_else(|| fat(&start)) {
        return Ok(Some(found));
    }
    let mut descriptor = [0; 72];
    device.seek(SeekFrom::Start(ISO_DESCRIPTOR))?;
    match device.read_exact(&mut descriptor) {
        Ok(()) => Ok(iso(&descriptor)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Magic number at 56 and label at 120 of the superblock, which starts at 1024.
fn ext4(start: &[u8; 2048]) -> Option<(FileSystem, String)> {
    (start[1080..1082] == [0x53, 0xef]).then(|| (FileSystem::Ext4, text(&start[1144..1160])))
}

/// A boot sector with the type's name, behind which firmware and mkfs.fat put the label.
fn fat(start: &[u8; 2048]) -> Option<(FileSystem, String)> {
    if start[510..512] != [0x55, 0xaa] {
        return None;
    }
    // FAT12 and FAT16: type at 54, label at 43. FAT32: type at 82, label at 71.
    let label = if start[54..57] == *b"FAT" {
        &start[43..54]
    } else if start[82..87] == *b"FAT32" {
        &start[71..82]
    } else {
        return None;
    };
    Some((FileSystem::Vfat, text(label)))
}

fn iso(descriptor: &[u8; 72]) -> Option<(FileSystem, String)> {
    (descriptor[..6] == *b"\x01CD001").then(|| (FileSystem::Iso9660, text(&descriptor[40..72])))
}

/// Labels are padded with blanks or zero bytes.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn device(patches: &[(usize, &[u8])]) -> Cursor<Vec<u8>> {
        let mut bytes = vec![0; 40_000];
        for (at, patch) in patches {
            bytes[*at..*at + patch.len()].copy_from_slice(patch);
        }
        Cursor::new(bytes)
    }

    /// Bytes at offsets, and what they are.
    type Case<'a> = (&'a [(usize, &'a [u8])], Option<(FileSystem, &'a str)>);

    #[test]
    fn labels_of_each_kind() {
        let cases: [Case<'_>; 6] = [
            (
                &[(32768, b"\x01CD001\x01"), (32768 + 40, b"cidata          ")],
                Some((FileSystem::Iso9660, "cidata")),
            ),
            (
                &[(510, b"\x55\xaa"), (54, b"FAT16   "), (43, b"CIDATA     ")],
                Some((FileSystem::Vfat, "CIDATA")),
            ),
            (
                &[(510, b"\x55\xaa"), (82, b"FAT32   "), (71, b"CONFIG-2   ")],
                Some((FileSystem::Vfat, "CONFIG-2")),
            ),
            (&[(1080, b"\x53\xef"), (1144, b"config-2\0")], Some((FileSystem::Ext4, "config-2"))),
            (&[(510, b"\x55\xaa")], None),
            (&[], None),
        ];
        for (patches, expected) in cases {
            let expected = expected.map(|(kind, label)| (kind, label.to_owned()));
            assert_eq!(read(&mut device(patches)).unwrap(), expected);
        }
    }

    #[test]
    fn small_devices_have_no_label() {
        assert!(read(&mut Cursor::new(vec![0; 100])).is_err());
        assert_eq!(read(&mut Cursor::new(vec![0; 4096])).unwrap(), None);
    }
}
