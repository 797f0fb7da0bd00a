//! GUIDs: written as people read them, stored as UEFI does.
//!
//! The types here are published ones; this must not invent any.

use std::fmt;

use crate::seed::Seed;

/// A GUID, as the number that its text spells.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Guid(pub u128);

impl Guid {
    /// EFI system partition (UEFI specification, table 5.7).
    pub const ESP: Self = Self(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B);

    /// Variable data, `/var` (UAPI Discoverable Partitions Specification).
    pub const LINUX_VAR: Self = Self(0x4D21B016_B534_45C2_A9FB_5C16E091FD2D);

    /// An identity for `purpose`.
    pub fn from_seed(seed: &Seed, purpose: &str) -> Self {
        Self(u128::from_be_bytes(seed.uuid(purpose)))
    }

    /// The sixteen bytes on disk: three little-endian numbers of 4, 2 and 2 bytes, then 8 bytes in order.
    pub fn to_disk(self) -> [u8; 16] {
        swap(self.0.to_be_bytes())
    }

    /// The reverse of `to_disk`.
    pub fn from_disk(bytes: [u8; 16]) -> Self {
        Self(u128::from_be_bytes(swap(bytes)))
    }
}

fn swap(mut bytes: [u8; 16]) -> [u8; 16] {
    bytes[0..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    bytes
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
        write!(f, "{a}-{b}-{c}-{d}-{e}")
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_disk_order() {
        assert_eq!(Guid::ESP.to_string(), "c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
        let disk =
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b];
        assert_eq!(Guid::ESP.to_disk(), disk);
        assert_eq!(Guid::from_disk(disk), Guid::ESP);
    }
}
