//! The client's side of a WebSocket (RFC 6455) over plain TCP, as far as the runtime's streaming server speaks it.
//!
//! The server listens on this host, and its address holds a token: nothing here resolves names or knows TLS.

use std::net::SocketAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Proves that the server knows WebSocket (section 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Longest head of an answer, in bytes.
const HEAD: usize = 16 * 1024;
/// Longest frame, in bytes; the server's own are of 32 KiB.
const FRAME: u64 = 32 << 20;

/// Opcodes (section 5.2).
pub const BINARY: u8 = 2;
/// The peer sends nothing more.
pub const CLOSE: u8 = 8;
/// To be answered.
pub const PING: u8 = 9;
/// The answer.
pub const PONG: u8 = 10;

/// Why a conversation ended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebSocketError {
    /// Not an address of the streaming server.
    #[error("the runtime's streaming address {0:?} is none of http://ADDRESS:PORT/PATH")]
    Address(String),
    /// The connection broke.
    #[error("the connection to the runtime's streaming server broke")]
    Io(#[from] std::io::Error),
    /// Another answer than a WebSocket.
    #[error("the runtime's streaming server answered {0:?}")]
    Refused(String),
    /// Not a frame of a server.
    #[error("the runtime's streaming server broke the protocol: {0}")]
    Protocol(&'static str),
}

/// One frame of the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is; 0 continues the message before.
    pub opcode: u8,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// What the server sends.
#[derive(Debug)]
pub struct Reader {
    half: OwnedReadHalf,
    buffer: Vec<u8>,
}

/// Connects, and agrees on a subprotocol.
pub async fn connect(url: &str, protocol: &str) -> Result<(Reader, OwnedWriteHalf), WebSocketError> {
    let wrong = || WebSocketError::Address(url.to_owned());
    let (host, path) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).ok_or_else(wrong)?;
    let address: SocketAddr = host.parse().map_err(|_| wrong())?;
    let mut stream = TcpStream::connect(address).await?;
    let key = BASE64_STANDARD.encode(random::<16>()?);
    let request = format!(
        "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let (mut half, writer) = stream.into_split();
    let mut buffer = Vec::new();
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        if buffer.len() > HEAD || half.read_buf(&mut buffer).await? == 0 {
            return Err(WebSocketError::Refused(String::from_utf8_lossy(&buffer).into_owned()));
        }
    };
    let head: Vec<u8> = buffer.drain(..end + 4).collect();
    check(&String::from_utf8_lossy(&head), &key, protocol)?;
    Ok((Reader { half, buffer }, writer))
}

/// Whether a head switches to a WebSocket (section 4.1).
fn check(head: &str, key: &str, protocol: &str) -> Result<(), WebSocketError> {
    let mut lines = head.split("\r\n");
    let first = lines.next().unwrap_or_default();
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(':')).collect();
    let field = |name: &str| {
        let found = fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.trim())
    };
    let proof = BASE64_STANDARD.encode(Sha1::new().chain_update(key).chain_update(GUID).finalize());
    let is_switched = first.split(' ').nth(1) == Some("101");
    if !is_switched || field("sec-websocket-accept") != proof || field("sec-websocket-protocol") != protocol {
        return Err(WebSocketError::Refused(first.to_owned()));
    }
    Ok(())
}

impl Reader {
    /// The next frame; nothing when the server is gone.
    pub async fn next(&mut self) -> Result<Option<Frame>, WebSocketError> {
        loop {
            if let Some((frame, used)) = parse(&self.buffer)? {
                self.buffer.drain(..used);
                return Ok(Some(frame));
            }
            if self.half.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// The first frame of some bytes, if it is whole, and how many bytes it has.
fn parse(bytes: &[u8]) -> Result<Option<(Frame, usize)>, WebSocketError> {
    let Some((&[first, second], rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(WebSocketError::Protocol("reserved bits are set"));
    }
    if second & 0x80 != 0 {
        return Err(WebSocketError::Protocol("a server's frame is masked"));
    }
    let (length, head) = match second {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    if length > FRAME {
        return Err(WebSocketError::Protocol("a frame is too long"));
    }
    let end = head + usize::try_from(length).map_err(|_| WebSocketError::Protocol("a frame is too long"))?;
    let payload = bytes.get(head..end);
    Ok(payload.map(|payload| (Frame { opcode: first & 0x0f, payload: payload.to_vec() }, end)))
}

/// A whole frame of a client, masked (section 5.3).
pub fn encode(opcode: u8, payload: &[u8]) -> Result<Vec<u8>, WebSocketError> {
    Ok(masked(opcode, payload, random()?))
}

fn masked(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(14 + payload.len());
    frame.push(0x80 | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => frame.push(0x80 | short),
        (_, Ok(middle)) => {
            frame.push(0x80 | 126);
            frame.extend(middle.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn random<const N: usize>() -> Result<[u8; N], std::io::Error> {
    let mut bytes = [0; N];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // Section 5.7: an unmasked text message, and the same masked.
        let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        let frame = Frame { opcode: 1, payload: b"Hello".to_vec() };
        assert_eq!(parse(&hello).unwrap(), Some((frame, 7)));
        assert_eq!(parse(&hello[..6]).unwrap(), None);
        let bytes = masked(1, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(bytes, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
        // Section 1.3.
        let head = "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
            sec-websocket-protocol: p\r\n\r\n";
        assert!(check(head, "dGhlIHNhbXBsZSBub25jZQ==", "p").is_ok());
        assert!(check(head, "dGhlIHNhbXBsZSBub25jZQ==", "q").is_err());
        assert!(check(head, "AAAA", "p").is_err());
        assert!(check("HTTP/1.1 404 Not Found\r\n\r\n", "", "p").is_err());
    }

    #[test]
    fn lengths() {
        for length in [0_usize, 125, 126, 65535, 65536] {
            let bytes = masked(BINARY, &vec![7; length], [0; 4]);
            // A server's frame is the same without the mask.
            let head = bytes.len() - length - 4;
            let mut server = bytes[..head].to_vec();
            server[1] &= 0x7f;
            server.extend(vec![7; length]);
            let (frame, used) = parse(&server).unwrap().unwrap();
            assert_eq!((frame.payload.len(), used), (length, server.len()));
        }
        assert!(parse(&[0x82, 0x80]).is_err() && parse(&[0xc2, 0]).is_err());
        assert!(parse(&[0x82, 127, 0, 0, 0, 1, 0, 0, 0, 0]).is_err());
    }
}
