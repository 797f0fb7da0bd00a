//! Frames of SPDY/3.1 (section 2.2) as bytes: parsing of heads and of control frames, and encoding of what a server sends.
//!
//! Pure functions of bytes. Header blocks stay compressed here: their order on the wire is the connection's affair.

use bytes::{BufMut, Bytes, BytesMut};
use thiserror::Error;

/// Bytes of every frame's head.
pub const HEAD: usize = 8;
/// Bytes of a control frame behind its head. Data frames need no limit: they are passed on in parts.
pub const CONTROL_LIMIT: usize = 16 * 1024;
/// Bytes of data in one frame of ours, as many as Go's `io.Copy` puts into one.
pub(super) const DATA_LIMIT: usize = 32 * 1024;

const VERSION: u16 = 3;
const CONTROL_BIT: u32 = 1 << 31;
const STREAM_BITS: u32 = CONTROL_BIT - 1;
const LENGTH_BITS: u32 = 0x00ff_ffff;
const FLAG_FIN: u8 = 1;
const FLAG_UNIDIRECTIONAL: u8 = 2;
/// SETTINGS: bytes of a window that a stream has at first (section 2.6.4).
const INITIAL_WINDOW: u32 = 7;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const SETTINGS: u16 = 4;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;
const WINDOW_UPDATE: u16 = 9;

/// Why a frame cannot be read; the connection is over then.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum FrameError {
    /// Another protocol, or bytes out of step.
    #[error("a control frame has version {0} instead of {VERSION}")]
    Version(u16),
    /// More than any control frame needs.
    #[error("a control frame has {0} bytes, more than {CONTROL_LIMIT}")]
    TooLong(usize),
    /// A frame's length does not fit its kind.
    #[error("a control frame of type {kind} has {length} bytes")]
    Length {
        /// The type's number.
        kind: u16,
        /// Bytes behind the head.
        length: usize,
    },
    /// The connection itself is no stream.
    #[error("a frame of type {0} is for stream 0")]
    NoStream(u16),
    /// A window grows by 1 to 2^31 - 1 bytes.
    #[error("a window update is not positive")]
    Window,
}

/// The first eight bytes of a frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Head {
    /// A control frame.
    Control {
        /// Its type.
        kind: u16,
        /// Its flags.
        flags: u8,
        /// Bytes that follow.
        length: usize,
    },
    /// A part of a stream.
    Data {
        /// The stream.
        stream: u32,
        /// Whether it is the last one.
        fin: bool,
        /// Bytes that follow.
        length: usize,
    },
}

impl Head {
    /// Reads a head.
    pub fn parse(bytes: [u8; HEAD]) -> Result<Self, FrameError> {
        let [a, b, c, d, flags, ..] = bytes;
        let first = u32::from_be_bytes([a, b, c, d]);
        let [.., e, f, g] = bytes;
        let length = usize::from(e) << 16 | usize::from(f) << 8 | usize::from(g);
        if first & CONTROL_BIT == 0 {
            if first == 0 {
                return Err(FrameError::NoStream(0));
            }
            return Ok(Self::Data { stream: first, fin: flags & FLAG_FIN != 0, length });
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(FrameError::Version(version));
        }
        if length > CONTROL_LIMIT {
            return Err(FrameError::TooLong(length));
        }
        Ok(Self::Control { kind: u16::from_be_bytes([c, d]), flags, length })
    }
}

/// A control frame that a client may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Control<'a> {
    /// Opens a stream.
    SynStream {
        /// Its number.
        stream: u32,
        /// The client will send no data.
        fin: bool,
        /// The server may send no data.
        unidirectional: bool,
        /// Its headers.
        block: &'a [u8],
    },
    /// Headers that a client sends for no purpose of ours, but that are part of the compression.
    Headers {
        /// The stream.
        stream: u32,
        /// Whether the stream's data ends with it.
        fin: bool,
        /// The headers.
        block: &'a [u8],
    },
    /// Ends a stream at once.
    Reset {
        /// The stream.
        stream: u32,
    },
    /// The client's parameters; of them only this one matters.
    Settings {
        /// Bytes of a stream's window at first.
        initial_window: Option<u32>,
    },
    /// To be sent back when its number is odd.
    Ping {
        /// Its number.
        id: u32,
    },
    /// The client will open no more streams.
    GoAway,
    /// The client can take more bytes.
    WindowUpdate {
        /// The stream, or 0 for the connection.
        stream: u32,
        /// How many more.
        delta: u32,
    },
    /// A type that is not known is ignored (section 2.2.1).
    Unknown,
}

impl<'a> Control<'a> {
    /// Reads what follows the head of a control frame.
    pub fn parse(kind: u16, flags: u8, payload: &'a [u8]) -> Result<Self, FrameError> {
        let wrong = || FrameError::Length { kind, length: payload.len() };
        let fin = flags & FLAG_FIN != 0;
        match kind {
            SYN_STREAM => {
                // Number, associated stream, priority and slot.
                let (head, block) = payload.split_first_chunk::<10>().ok_or_else(wrong)?;
                let unidirectional = flags & FLAG_UNIDIRECTIONAL != 0;
                Ok(Self::SynStream { stream: stream(kind, head)?, fin, unidirectional, block })
            }
            SYN_REPLY | HEADERS => {
                let (head, block) = payload.split_first_chunk::<4>().ok_or_else(wrong)?;
                Ok(Self::Headers { stream: stream(kind, head)?, fin, block })
            }
            RST_STREAM => {
                let head: &[u8; 8] = payload.try_into().map_err(|_| wrong())?;
                Ok(Self::Reset { stream: stream(kind, head)? })
            }
            SETTINGS => settings(payload).ok_or_else(wrong),
            PING => {
                let id: &[u8; 4] = payload.try_into().map_err(|_| wrong())?;
                Ok(Self::Ping { id: u32::from_be_bytes(*id) })
            }
            GOAWAY if payload.len() == 8 => Ok(Self::GoAway),
            WINDOW_UPDATE => {
                let [a, b, c, d, e, f, g, h]: [u8; 8] = payload.try_into().map_err(|_| wrong())?;
                let delta = u32::from_be_bytes([e, f, g, h]) & STREAM_BITS;
                if delta == 0 {
                    return Err(FrameError::Window);
                }
                Ok(Self::WindowUpdate { stream: u32::from_be_bytes([a, b, c, d]) & STREAM_BITS, delta })
            }
            GOAWAY => Err(wrong()),
            _ => Ok(Self::Unknown),
        }
    }
}

/// The stream that a frame begins with.
fn stream(kind: u16, head: &[u8]) -> Result<u32, FrameError> {
    let number = head.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes)) & STREAM_BITS;
    if number == 0 { Err(FrameError::NoStream(kind)) } else { Ok(number) }
}

fn settings(payload: &[u8]) -> Option<Control<'static>> {
    let (count, entries) = payload.split_first_chunk::<4>()?;
    let count = usize::try_from(u32::from_be_bytes(*count)).ok()?;
    if entries.len() != count.checked_mul(8)? {
        return None;
    }
    let (entries, _) = entries.as_chunks::<8>();
    let window = |&[_, a, b, c, d, e, f, g]: &[u8; 8]| {
        (u32::from_be_bytes([0, a, b, c]) == INITIAL_WINDOW).then(|| u32::from_be_bytes([d, e, f, g]))
    };
    Some(Control::Settings { initial_window: entries.iter().find_map(window) })
}

/// Why a stream is reset (section 2.6.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum ResetReason {
    ProtocolError = 1,
    InvalidStream = 2,
    RefusedStream = 3,
    Cancel = 5,
    FlowControlError = 7,
}

/// Why a connection ends (section 2.6.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum GoAwayReason {
    Ok = 0,
    ProtocolError = 1,
}

/// Accepts a stream.
pub(super) fn syn_reply(stream: u32, block: &[u8]) -> Bytes {
    let mut frame = control(SYN_REPLY, 4 + block.len());
    frame.put_u32(stream);
    frame.put_slice(block);
    frame.freeze()
}

pub(super) fn rst_stream(stream: u32, reason: ResetReason) -> Bytes {
    pair(RST_STREAM, stream, reason as u32)
}

pub(super) fn go_away(last_stream: u32, reason: GoAwayReason) -> Bytes {
    pair(GOAWAY, last_stream, reason as u32)
}

pub(super) fn window_update(stream: u32, delta: u32) -> Bytes {
    pair(WINDOW_UPDATE, stream, delta)
}

pub(super) fn ping(id: u32) -> Bytes {
    let mut frame = control(PING, 4);
    frame.put_u32(id);
    frame.freeze()
}

/// A part of a stream; the callers' parts are at most [`DATA_LIMIT`].
pub(super) fn data(stream: u32, fin: bool, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(HEAD + bytes.len());
    frame.put_u32(stream);
    frame.put_u32(flags_and_length(if fin { FLAG_FIN } else { 0 }, bytes.len()));
    frame.put_slice(bytes);
    frame.freeze()
}

fn pair(kind: u16, first: u32, second: u32) -> Bytes {
    let mut frame = control(kind, 8);
    frame.put_u32(first);
    frame.put_u32(second);
    frame.freeze()
}

fn control(kind: u16, length: usize) -> BytesMut {
    let mut frame = BytesMut::with_capacity(HEAD + length);
    frame.put_u32(CONTROL_BIT | u32::from(VERSION) << 16 | u32::from(kind));
    frame.put_u32(flags_and_length(0, length));
    frame
}

fn flags_and_length(flags: u8, length: usize) -> u32 {
    let length = u32::try_from(length).expect("frames of ours are short");
    u32::from(flags) << 24 | length & LENGTH_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Control<'_>, FrameError> {
        let (head, payload) = bytes.split_first_chunk().unwrap();
        match Head::parse(*head)? {
            Head::Control { kind, flags, length } => {
                assert_eq!(length, payload.len());
                Control::parse(kind, flags, payload)
            }
            Head::Data { .. } => panic!("not a control frame"),
        }
    }

    #[test]
    fn what_a_client_sends() {
        let syn = [0x80, 3, 0, 1, 1, 0, 0, 12, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0xaa, 0xbb];
        let expected =
            Control::SynStream { stream: 5, fin: true, unidirectional: false, block: &[0xaa, 0xbb] };
        assert_eq!(parse(&syn), Ok(expected));
        let reset = [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 5, 0, 0, 0, 5];
        assert_eq!(parse(&reset), Ok(Control::Reset { stream: 5 }));
        let settings =
            [0x80, 3, 0, 4, 0, 0, 0, 20, 0, 0, 0, 2, 1, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 7, 0, 1, 0, 0];
        assert_eq!(parse(&settings), Ok(Control::Settings { initial_window: Some(65536) }));
        assert_eq!(parse(&[0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1]), Ok(Control::Ping { id: 1 }));
        assert_eq!(parse(&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0]), Ok(Control::GoAway));
        let update = [0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0x80, 0];
        assert_eq!(parse(&update), Ok(Control::WindowUpdate { stream: 0, delta: 32768 }));
        assert_eq!(parse(&[0x80, 3, 0, 10, 0, 0, 0, 0]), Ok(Control::Unknown));
        let data = Head::parse([0, 0, 0, 3, 1, 1, 0, 2]);
        assert_eq!(data, Ok(Head::Data { stream: 3, fin: true, length: 0x10002 }));
    }

    #[test]
    fn what_a_server_sends() {
        assert_eq!(syn_reply(1, &[7])[..], [0x80, 3, 0, 2, 0, 0, 0, 5, 0, 0, 0, 1, 7]);
        let reset = rst_stream(3, ResetReason::Cancel);
        assert_eq!(reset[..], [0x80, 3, 0, 3, 0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 5]);
        let away = go_away(9, GoAwayReason::ProtocolError);
        assert_eq!(away[..], [0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 1]);
        let update = window_update(0, 65536);
        assert_eq!(update[..], [0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(ping(7)[..], [0x80, 3, 0, 6, 0, 0, 0, 4, 0, 0, 0, 7]);
        assert_eq!(data(1, false, b"ab")[..], [0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b']);
        assert_eq!(data(1, true, b"")[..], [0, 0, 0, 1, 1, 0, 0, 0]);
    }

    #[test]
    fn hostile_frames() {
        assert_eq!(parse(&[0x80, 2, 0, 6, 0, 0, 0, 0]), Err(FrameError::Version(2)));
        assert_eq!(parse(&[0x80, 3, 0, 1, 0, 0, 0x40, 1]), Err(FrameError::TooLong(16385)));
        assert_eq!(
            parse(&[0x80, 3, 0, 1, 0, 0, 0, 1, 0]),
            Err(FrameError::Length { kind: SYN_STREAM, length: 1 })
        );
        assert_eq!(parse(&[0x80, 3, 0, 6, 0, 0, 0, 0]), Err(FrameError::Length { kind: PING, length: 0 }));
        let zero = [0x80, 3, 0, 3, 0, 0, 0, 8, 0x80, 0, 0, 0, 0, 0, 0, 5];
        assert_eq!(parse(&zero), Err(FrameError::NoStream(RST_STREAM)));
        assert_eq!(Head::parse([0; 8]), Err(FrameError::NoStream(0)));
        let counts = [0x80, 3, 0, 4, 0, 0, 0, 4, 255, 255, 255, 255];
        assert_eq!(parse(&counts), Err(FrameError::Length { kind: SETTINGS, length: 4 }));
        let still = [0x80, 3, 0, 9, 0, 0, 0, 8, 0, 0, 0, 1, 0x80, 0, 0, 0];
        assert_eq!(parse(&still), Err(FrameError::Window));
    }
}
