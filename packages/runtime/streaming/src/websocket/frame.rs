//! Frames of WebSocket (RFC 6455, section 5.2) as bytes: parsing of a client's heads, and encoding of a server's frames.
//!
//! Pure functions of bytes.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of the longest head of a client's frame.
pub const HEAD_MAX: usize = 14;
/// Bytes of a control frame's payload (section 5.5).
pub const CONTROL_LIMIT: usize = 125;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation,
    /// The first part of a text message.
    Text,
    /// The first part of a message of bytes.
    Binary,
    /// The peer sends nothing more.
    Close,
    /// To be answered.
    Ping,
    /// The answer.
    Pong,
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// Whether it may come between the parts of a message.
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Why a connection is closed (section 7.4.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub enum CloseCode {
    /// The call is over.
    Normal = 1000,
    /// The client broke the protocol.
    Protocol = 1002,
    /// A text message where bytes belong.
    Unsupported = 1003,
    /// A message that is not what its type says.
    Data = 1007,
    /// A message is too long.
    TooBig = 1009,
}

/// Why a client's frame is not one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// An extension that was not agreed on.
    #[error("a frame has reserved bits set")]
    Reserved,
    /// Section 5.2 has no such frame.
    #[error("a frame has the unknown opcode {0}")]
    Opcode(u8),
    /// A client masks every frame (section 5.1).
    #[error("a frame is not masked")]
    NotMasked,
    /// A length is written in as few bytes as possible, and in 63 bits.
    #[error("a frame's length is not written as it must be")]
    Length,
    /// Control frames are short and whole.
    #[error("a control frame is longer than {CONTROL_LIMIT} bytes or in parts")]
    Control,
}

/// The head of a client's frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Whether the message ends with it.
    pub fin: bool,
    /// What it is.
    pub opcode: Opcode,
    /// Bytes of its payload.
    pub length: u64,
    /// What the payload is masked with.
    pub mask: [u8; 4],
}

impl Head {
    /// How many bytes a head has whose first two are these.
    pub fn size([_, second]: [u8; 2]) -> usize {
        let length = match second & !MASKED {
            LENGTH_16 => 2,
            LENGTH_64 => 8,
            _ => 0,
        };
        2 + length + if second & MASKED == 0 { 0 } else { 4 }
    }

    /// Reads a head of [`Head::size`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else {
            return Err(FrameError::Length);
        };
        if first & RESERVED != 0 {
            return Err(FrameError::Reserved);
        }
        let opcode = Opcode::from_bits(first & 0x0f).ok_or(FrameError::Opcode(first & 0x0f))?;
        if second & MASKED == 0 {
            return Err(FrameError::NotMasked);
        }
        let fin = first & FIN != 0;
        let (length, least, mask) = match second & !MASKED {
            LENGTH_16 => {
                let (length, mask) = rest.split_first_chunk().ok_or(FrameError::Length)?;
                (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_16), mask)
            }
            LENGTH_64 => {
                let (length, mask) = rest.split_first_chunk().ok_or(FrameError::Length)?;
                (u64::from_be_bytes(*length), 1 << 16, mask)
            }
            short => (u64::from(short), 0, rest),
        };
        if length < least || length >= 1 << 63 {
            return Err(FrameError::Length);
        }
        if opcode.is_control() && (!fin || length > CONTROL_LIMIT as u64) {
            return Err(FrameError::Control);
        }
        let mask = mask.try_into().map_err(|_| FrameError::Length)?;
        Ok(Self { fin, opcode, length, mask })
    }

    /// Unmasks a part of the payload that begins `offset` bytes into it (section 5.3).
    pub fn unmask(&self, offset: u64, payload: &mut [u8]) {
        let turn = usize::try_from(offset % 4).expect("it is below 4");
        let mut mask = self.mask;
        mask.rotate_left(turn);
        let (words, rest) = payload.as_chunks_mut::<4>();
        for word in words {
            *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(mask)).to_ne_bytes();
        }
        for (byte, mask) in rest.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

/// A whole message or control frame of a server, in two parts: what comes before the bytes, and the bytes.
pub(crate) fn encode(opcode: Opcode, prefix: &[u8], bytes: &[u8]) -> Bytes {
    let length = prefix.len() + bytes.len();
    let mut frame = BytesMut::with_capacity(10 + length);
    frame.put_u8(FIN | opcode.bits());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short), _) if short < LENGTH_16 => frame.put_u8(short),
        (_, Ok(middle)) => {
            frame.put_u8(LENGTH_16);
            frame.put_u16(middle);
        }
        _ => {
            frame.put_u8(LENGTH_64);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(prefix);
    frame.put_slice(bytes);
    frame.freeze()
}

/// The frame that says goodbye.
pub(crate) fn close(code: CloseCode) -> Bytes {
    encode(Opcode::Close, &(code as u16).to_be_bytes(), &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn the_example_of_the_rfc() {
        // Section 5.7: a single-frame masked text message.
        let bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(Head::size([bytes[0], bytes[1]]), 6);
        let head = Head::parse(&bytes[..6]).unwrap();
        assert_eq!(head, Head { fin: true, opcode: Opcode::Text, length: 5, mask: MASK });
        let mut payload = bytes[6..].to_vec();
        head.unmask(0, &mut payload);
        assert_eq!(payload, b"Hello");
    }

    #[test]
    fn parts_are_unmasked_as_the_whole() {
        let head = Head { fin: true, opcode: Opcode::Binary, length: 23, mask: MASK };
        let mut whole: Vec<u8> = (0..23).collect();
        head.unmask(0, &mut whole);
        for split in 0..23 {
            let mut parts: Vec<u8> = (0..23).collect();
            let (one, two) = parts.split_at_mut(split);
            head.unmask(0, one);
            head.unmask(split as u64, two);
            assert_eq!(parts, whole, "{split}");
        }
    }

    #[test]
    fn lengths_of_both_directions() {
        for length in [0_usize, 125, 126, 65535, 65536] {
            let frame = encode(Opcode::Binary, &[1], &vec![7; length.saturating_sub(1)]);
            let length = length.max(1);
            let size = Head::size([frame[0], frame[1]]);
            assert_eq!(frame.len(), size + length);
            let mut masked = frame[..size].to_vec();
            masked[1] |= MASKED;
            masked.extend(MASK);
            assert_eq!(Head::size([masked[0], masked[1]]), masked.len());
            assert_eq!(Head::parse(&masked).unwrap().length, length as u64);
        }
        assert_eq!(close(CloseCode::Normal)[..], [0x88, 2, 3, 0xe8]);
        assert_eq!(encode(Opcode::Binary, &[1], b"ab")[..], [0x82, 3, 1, b'a', b'b']);
    }

    #[test]
    fn hostile_heads() {
        let error = |bytes: &[u8]| Head::parse(bytes).unwrap_err();
        assert_eq!(error(&[0xc2, 0x80, 0, 0, 0, 0]), FrameError::Reserved);
        assert_eq!(error(&[0x83, 0x80, 0, 0, 0, 0]), FrameError::Opcode(3));
        assert_eq!(error(&[0x82, 0x00]), FrameError::NotMasked);
        assert_eq!(error(&[0x82, 0xfe, 0, 125, 0, 0, 0, 0]), FrameError::Length);
        assert_eq!(error(&[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0]), FrameError::Length);
        assert_eq!(error(&[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), FrameError::Length);
        assert_eq!(error(&[0x89, 0xfe, 0, 126, 0, 0, 0, 0]), FrameError::Control);
        assert_eq!(error(&[0x08, 0x80, 0, 0, 0, 0]), FrameError::Control);
        assert_eq!(error(&[0x82]), FrameError::Length);
        assert_eq!(error(&[0x82, 0x80, 1, 2]), FrameError::Length);
    }
}
