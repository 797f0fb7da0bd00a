//! Volume descriptors of ECMA-119 (ISO 9660): the primary one and the end of the set.
//!
//! Level 1, one volume, no supplementary (Joliet) descriptor.

use super::BLOCK;
use super::date::Date;
use super::record::{both16, both32};

/// Who wrote the volume, in the application field.
const APPLICATION: &str = "LEPTON";

/// What the primary volume descriptor says.
#[derive(Debug)]
pub(super) struct Volume<'a> {
    /// Volume identifier, d-characters, 32 at most.
    pub(super) label: &'a str,
    /// Length of the volume in blocks.
    pub(super) blocks: u32,
    /// Length of a path table in bytes.
    pub(super) path_table_len: u32,
    /// Blocks of the path tables in little-endian and big-endian order.
    pub(super) path_tables: [u32; 2],
    /// The record of the root directory, 34 bytes.
    pub(super) root: Vec<u8>,
    /// Creation, modification and effect.
    pub(super) date: Date,
}

impl Volume<'_> {
    /// The primary volume descriptor (ECMA-119 8.4), one block.
    pub(super) fn descriptor(&self) -> Vec<u8> {
        let mut bytes = descriptor(1);
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(8, &text::<32>(""));
        put(40, &text::<32>(self.label));
        put(80, &both32(self.blocks));
        put(120, &both16(1));
        put(124, &both16(1));
        put(128, &both16(u16::try_from(BLOCK).expect("2048 fits")));
        put(132, &both32(self.path_table_len));
        put(140, &self.path_tables[0].to_le_bytes());
        put(148, &self.path_tables[1].to_be_bytes());
        put(156, &self.root);
        put(190, &text::<128>(""));
        put(318, &text::<128>(""));
        put(446, &text::<128>(""));
        put(574, &text::<128>(APPLICATION));
        put(702, &text::<111>(""));
        // Created, modified, expires (never: zero digits), effective.
        put(813, &self.date.volume());
        put(830, &self.date.volume());
        put(847, b"0000000000000000\0");
        put(864, &self.date.volume());
        put(881, &[1]);
        bytes
    }
}

/// The descriptor that ends the set (ECMA-119 8.3), one block.
pub(super) fn terminator() -> Vec<u8> {
    descriptor(255)
}

/// A block with the type, the standard identifier and version 1.
pub(super) fn descriptor(kind: u8) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(BLOCK).expect("2048 fits")];
    bytes[0] = kind;
    bytes[1..7].copy_from_slice(b"CD001\x01");
    bytes
}

fn text<const LEN: usize>(value: &str) -> [u8; LEN] {
    let mut bytes = [b' '; LEN];
    bytes[..value.len()].copy_from_slice(value.as_bytes());
    bytes
}
