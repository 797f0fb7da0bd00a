//! Identifiers that look random and are not: every GUID, serial and CID comes from the plan's digest.

use sha2::{Digest, Sha256};

/// The root of all identifiers of one artifact set.
#[derive(Clone, Copy, Debug)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from the digest of the resolved plan.
    pub fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// Thirty-two bytes for `purpose`; different purposes give unrelated bytes.
    pub fn bytes(&self, purpose: &str) -> [u8; 32] {
        Sha256::new().chain_update(self.0).chain_update(purpose).finalize().into()
    }

    /// An RFC 9562 version 8 UUID in its big-endian (network) byte order.
    pub fn uuid(&self, purpose: &str) -> [u8; 16] {
        let mut uuid = [0; 16];
        uuid.copy_from_slice(&self.bytes(purpose)[..16]);
        uuid[6] = (uuid[6] & 0x0f) | 0x80;
        uuid[8] = (uuid[8] & 0x3f) | 0x80;
        uuid
    }

    /// Thirty-two bits, for FAT serials and VMDK CIDs.
    pub fn u32(&self, purpose: &str) -> u32 {
        let bytes = self.bytes(purpose);
        u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }
}
