//! Directory records (ECMA-119 9.1) with Rock Ridge names and modes (SUSP 1.10, RRIP 1.10).
//!
//! Level-1 identifiers serve firmware and boot loaders, Rock Ridge serves people who mount the image.
//! Only the fields that readers need: no links, no devices, no owners but 0.

use super::date::Date;

/// Numbers in both byte orders, little-endian first (ECMA-119 7.3.3).
pub(super) fn both32(value: u32) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&value.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_be_bytes());
    bytes
}

/// Numbers in both byte orders, little-endian first (ECMA-119 7.2.3).
pub(super) fn both16(value: u16) -> [u8; 4] {
    let [low, high] = value.to_le_bytes();
    [low, high, high, low]
}

/// What a record stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    /// The root's record inside the volume descriptor, which has no Rock Ridge fields.
    Volume,
    /// The first record of the root directory, which announces Rock Ridge.
    RootSelf,
    /// The first record of another directory.
    OwnSelf,
    /// The second record of a directory.
    Parent,
    /// A directory: its identifier and its name.
    Directory(&'a str, &'a str),
    /// A file: its identifier and its name.
    File(&'a str, &'a str),
}

/// Where data is: the first block of 2048 bytes and the length in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Extent {
    pub(super) block: u32,
    pub(super) len: u32,
}

/// The bytes of a record; `links` is the count of hard links.
pub(super) fn record(kind: Kind<'_>, extent: Extent, links: u32, date: &Date) -> Vec<u8> {
    let identifier = match kind {
        Kind::Volume | Kind::RootSelf | Kind::OwnSelf => "\0",
        Kind::Parent => "\u{1}",
        Kind::Directory(identifier, _) | Kind::File(identifier, _) => identifier,
    };
    let is_file = matches!(kind, Kind::File(..));
    let mut bytes = vec![0, 0];
    bytes.extend(both32(extent.block));
    bytes.extend(both32(extent.len));
    bytes.extend(date.record());
    // Flags (a directory is 2), file unit size, interleave gap, volume sequence number.
    bytes.extend([if is_file { 0 } else { 2 }, 0, 0]);
    bytes.extend(both16(1));
    bytes.push(u8::try_from(identifier.len()).expect("identifiers have 14 bytes at most"));
    bytes.extend(identifier.as_bytes());
    pad(&mut bytes);
    if kind != Kind::Volume {
        rock_ridge(kind, links, &mut bytes);
        pad(&mut bytes);
    }
    bytes[0] = u8::try_from(bytes.len()).expect("names were checked to leave room");
    bytes
}

fn rock_ridge(kind: Kind<'_>, links: u32, bytes: &mut Vec<u8>) {
    if kind == Kind::RootSelf {
        // SP must be the first field of the first record: the check bytes, and nothing to skip before fields.
        bytes.extend(b"SP\x07\x01\xbe\xef\x00");
    }
    let mode = if matches!(kind, Kind::File(..)) { 0o100_444 } else { 0o040_555 };
    bytes.extend(b"PX\x24\x01");
    for value in [mode, links, 0, 0] {
        bytes.extend(both32(value));
    }
    if let Kind::Directory(_, name) | Kind::File(_, name) = kind {
        let len = u8::try_from(5 + name.len()).expect("names were checked to leave room");
        bytes.extend([b'N', b'M', len, 1, 0]);
        bytes.extend(name.as_bytes());
    }
    if kind == Kind::RootSelf {
        // The identifier alone: with description and source the field would need a continuation area.
        bytes.extend(b"ER\x12\x01\x0a\x00\x00\x01RRIP_1991A");
    }
}

fn pad(bytes: &mut Vec<u8>) {
    if !bytes.len().is_multiple_of(2) {
        bytes.push(0);
    }
}
