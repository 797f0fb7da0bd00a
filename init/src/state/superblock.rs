//! The few fields of an ext4 superblock that PID 1 asks about (Documentation/filesystems/ext4/super.rst).
//!
//! Checksums are the kernel's business; nothing here decides whether a file system is sound.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Where the superblock is in a partition.
const OFFSET: u64 = 1024;
/// `s_magic`.
const MAGIC: u16 = 0xef53;
/// Bit of `s_state`: the kernel found a mistake.
const ERROR_FS: u16 = 2;
/// Bit of `s_feature_incompat`: block numbers have 64 bits.
const INCOMPAT_64BIT: u32 = 0x80;

/// A superblock.
#[derive(Clone, Debug)]
pub(super) struct Superblock(Vec<u8>);

/// Reads the superblock of a device.
pub(super) fn read(device: &Path) -> io::Result<Superblock> {
    let mut bytes = vec![0; 1024];
    File::open(device)?.read_exact_at(&mut bytes, OFFSET)?;
    Superblock::parse(bytes).ok_or_else(|| io::Error::other("no ext4 superblock"))
}

impl Superblock {
    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let superblock = Self(bytes);
        (superblock.half(56) == MAGIC).then_some(superblock)
    }

    /// Whether the kernel noted a mistake that only a check removes.
    pub(super) fn has_errors(&self) -> bool {
        self.half(58) & ERROR_FS != 0
    }

    /// Whether the UUID was derived by the builder (version 8 of RFC 9562) and is shared by all hosts of an image.
    pub(super) fn is_anonymous(&self) -> bool {
        self.0[104 + 6] >> 4 == 8
    }

    /// Bytes of a block.
    pub(super) fn block_bytes(&self) -> u64 {
        1024 << self.long(24).min(6)
    }

    /// Count of blocks.
    pub(super) fn blocks(&self) -> u64 {
        let high = if self.long(96) & INCOMPAT_64BIT == 0 { 0 } else { u64::from(self.long(336)) };
        high << 32 | u64::from(self.long(4))
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    fn long(&self, at: usize) -> u32 {
        u32::from(self.half(at)) | u32::from(self.half(at + 2)) << 16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let mut bytes = vec![0; 1024];
        assert!(Superblock::parse(bytes.clone()).is_none());
        bytes[56..58].copy_from_slice(&[0x53, 0xef]);
        bytes[24] = 2;
        bytes[4..8].copy_from_slice(&7_u32.to_le_bytes());
        bytes[336] = 1;
        bytes[110] = 0x8a;
        let superblock = Superblock::parse(bytes.clone()).unwrap();
        assert_eq!((superblock.block_bytes(), superblock.blocks()), (4096, 7));
        assert!(superblock.is_anonymous() && !superblock.has_errors());
        bytes[96] = 0x80;
        bytes[58] = 3;
        bytes[110] = 0x4a;
        let superblock = Superblock::parse(bytes).unwrap();
        assert_eq!(superblock.blocks(), (1 << 32) + 7);
        assert!(!superblock.is_anonymous() && superblock.has_errors());
    }
}
