//! What a segment of a buffer is made of: frames of length, CRC-32 and payload, so that what a crash tore is told from what
//! is whole. Pure; it believes no byte of what it reads.
//!
//! ```text
//! frame    u32 length of the payload | u32 CRC-32 of length and payload | payload
//! head     u8 0 | u32 count | count × (key, position)          the first frame of a segment
//! batch    u8 1 | key | position | u32 left out | u32 lines | records
//! key      u16 length | text
//! position u64 file | u64 offset | u32 head length | u32 head CRC-32 | u64 unsaid
//! record   u8 stream, + 4 for a part of a line | u64 nanoseconds since 1970 | u32 length | text
//! ```
//!
//! Numbers are little-endian.

use std::collections::BTreeMap;

use crate::record::Records;

/// Bytes before a payload.
pub const HEADER: usize = 8;
/// No frame is longer: what is read at once of a source, and what records have besides their text.
pub const MAX_PAYLOAD: usize = 4 << 20;

const HEAD: u8 = 0;
const BATCH: u8 = 1;

/// How far a source was read.
///
/// For a file: its inode, the bytes that were read, and the length and CRC-32 of its beginning, as inodes are used again. For a
/// log of PID 1: the boot, and the number of the last line that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Which file, or which boot.
    pub file: u64,
    /// How far.
    pub offset: u64,
    /// Bytes that `head_crc` is of.
    pub head_len: u32,
    /// CRC-32 of the beginning.
    pub head_crc: u32,
    /// Lines left out that no notice told of yet.
    pub unsaid: u64,
}

const POSITION: usize = 32;

impl Position {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.file.to_le_bytes());
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.head_len.to_le_bytes());
        bytes.extend_from_slice(&self.head_crc.to_le_bytes());
        bytes.extend_from_slice(&self.unsaid.to_le_bytes());
    }

    fn decode(input: &mut Input<'_>) -> Option<Self> {
        Some(Self {
            file: input.u64()?,
            offset: input.u64()?,
            head_len: input.u32()?,
            head_crc: input.u32()?,
            unsaid: input.u64()?,
        })
    }
}

/// Lines of one source, as they were read.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// Whose.
    pub key: &'a str,
    /// Where the source is behind them.
    pub position: Position,
    /// Lines among them that were left out.
    pub left_out: u32,
    /// Lines; notices among the records are not counted.
    pub lines: u32,
    /// The records.
    pub records: Records<'a>,
}

impl Batch<'_> {
    /// The frame of these records.
    pub fn encode(&self) -> Vec<u8> {
        let records = self.records.0;
        let mut bytes = Vec::with_capacity(HEADER + 1 + 2 + self.key.len() + POSITION + 8 + records.len());
        bytes.extend_from_slice(&[0; HEADER]);
        bytes.push(BATCH);
        key(self.key, &mut bytes);
        self.position.encode(&mut bytes);
        bytes.extend_from_slice(&self.left_out.to_le_bytes());
        bytes.extend_from_slice(&self.lines.to_le_bytes());
        bytes.extend_from_slice(records);
        seal(&mut bytes);
        bytes
    }
}

/// The first frame of a segment.
pub fn head(positions: &BTreeMap<String, Position>) -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes.push(HEAD);
    bytes.extend_from_slice(&u32::try_from(positions.len()).unwrap_or(u32::MAX).to_le_bytes());
    for (name, position) in positions {
        key(name, &mut bytes);
        position.encode(&mut bytes);
    }
    seal(&mut bytes);
    bytes
}

fn key(key: &str, bytes: &mut Vec<u8>) {
    // Names of Kubernetes have 253 bytes at most, and there are five in a key.
    let len = u16::try_from(key.len()).unwrap_or(u16::MAX);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&key.as_bytes()[..len.into()]);
}

fn seal(bytes: &mut [u8]) {
    let len = u32::try_from(bytes.len() - HEADER).unwrap_or(u32::MAX).to_le_bytes();
    let crc = crc(len, &bytes[HEADER..]);
    bytes[..4].copy_from_slice(&len);
    bytes[4..HEADER].copy_from_slice(&crc.to_le_bytes());
}

fn crc(len: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&len);
    hasher.update(payload);
    hasher.finalize()
}

/// What a frame is.
#[derive(Clone, Debug)]
pub enum Frame<'a> {
    /// All positions.
    Head(BTreeMap<String, Position>),
    /// Lines.
    Batch(Batch<'a>),
}

/// Bytes of the payload that a header announces; none when it cannot be one.
pub fn payload_len(header: &[u8]) -> Option<usize> {
    let len = usize::try_from(u32::from_le_bytes(header.get(..4)?.try_into().ok()?)).ok()?;
    (1..=MAX_PAYLOAD).contains(&len).then_some(len)
}

/// Takes a frame from the beginning; none when it is not whole, or none.
pub fn decode<'a>(bytes: &mut &'a [u8]) -> Option<Frame<'a>> {
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (payload, rest) = rest.split_at_checked(payload_len(header)?)?;
    if crc(header[..4].try_into().ok()?, payload).to_le_bytes() != header[4..] {
        return None;
    }
    *bytes = rest;
    parse(payload)
}

fn parse(payload: &[u8]) -> Option<Frame<'_>> {
    let mut input = Input(payload);
    match input.bytes(1)?[0] {
        HEAD => {
            let mut positions = BTreeMap::new();
            for _ in 0..input.u32()? {
                positions.insert(input.key()?.to_owned(), Position::decode(&mut input)?);
            }
            Some(Frame::Head(positions))
        }
        BATCH => Some(Frame::Batch(Batch {
            key: input.key()?,
            position: Position::decode(&mut input)?,
            left_out: input.u32()?,
            lines: input.u32()?,
            records: Records(input.0),
        })),
        _ => None,
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(4)?.try_into().ok()?))
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.bytes(8)?.try_into().ok()?))
    }

    fn key(&mut self) -> Option<&'a str> {
        let len = u16::from_le_bytes(self.bytes(2)?.try_into().ok()?);
        std::str::from_utf8(self.bytes(len.into())?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Record, Stream};

    #[test]
    fn frames_come_back_and_torn_ones_do_not() {
        let position = Position { file: 1 << 40, offset: 9, head_len: 3, head_crc: 4, unsaid: 5 };
        let mut records = Vec::new();
        Record { time_ns: 1, stream: Stream::Log, is_part: false, text: b"text" }.encode(&mut records);
        let batch = Batch { key: "services/a", position, left_out: 2, lines: 1, records: Records(&records) };
        let positions = BTreeMap::from([("kernel".to_owned(), position)]);
        let bytes = [head(&positions), batch.encode()].concat();
        let mut input = bytes.as_slice();
        let Some(Frame::Head(read)) = decode(&mut input) else { panic!("no head") };
        assert_eq!(read, positions);
        let at = bytes.len() - input.len();
        let Some(Frame::Batch(read)) = decode(&mut input) else { panic!("no batch") };
        assert_eq!((read.key, read.position, read.left_out, read.lines), ("services/a", position, 2, 1));
        assert_eq!(read.records.count(), 1);
        assert!(input.is_empty() && decode(&mut input).is_none());
        for end in at..bytes.len() {
            assert!(decode(&mut &bytes[at..end]).is_none(), "{end}");
        }
        for place in at..bytes.len() {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            assert!(decode(&mut &bad[at..]).is_none(), "{place}");
        }
        assert!(decode(&mut &[0; 64][..]).is_none(), "zeros, as a power cut leaves them");
    }
}
