//! Channels of Kubernetes' WebSocket subprotocols: the first byte of a message says to which stream it belongs.
//!
//! Messages for channels that a call does not have, or that only the server writes, are discarded as in Kubernetes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::connection::Messages;
use super::frame::{CloseCode, Opcode};
use crate::pipe::{End, Sender};
use crate::resize::ResizeReader;

/// In v5, a message of this channel names another one that has ended.
pub(crate) const CLOSE: u8 = 255;

/// How a subprotocol writes its messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Codec {
    /// Bytes behind the channel's number.
    Binary,
    /// The same, with ends of channels (v5).
    BinaryWithClose,
    /// Base64 behind the channel's digit.
    Base64,
}

/// Where the client's bytes on a channel go.
#[derive(Debug)]
pub(crate) enum Target {
    /// Nowhere.
    Discard,
    /// To a reader.
    Pipe(Sender),
    /// To the terminal's size.
    Resize(ResizeReader),
}

/// The channels of a connection.
#[derive(Debug)]
pub(crate) struct Channels {
    codec: Codec,
    targets: Vec<Target>,
    state: State,
    /// Base64 characters that do not make three bytes yet.
    rest: Vec<u8>,
}

/// Where in a message we are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// Its first byte comes.
    Start,
    /// Bytes of this channel.
    Channel(usize),
    /// The number of the channel that ends.
    Close,
    /// Nothing may follow.
    Done,
}

impl Channels {
    pub(crate) fn new(codec: Codec, targets: Vec<Target>) -> Self {
        Self { codec, targets, state: State::Start, rest: Vec::new() }
    }

    fn open(&mut self, first: u8) {
        self.state = match self.codec {
            Codec::BinaryWithClose if first == CLOSE => State::Close,
            Codec::Base64 => State::Channel(usize::from(first.wrapping_sub(b'0'))),
            Codec::Binary | Codec::BinaryWithClose => State::Channel(usize::from(first)),
        };
    }

    fn close(&mut self, channel: u8) -> Result<(), CloseCode> {
        match self.targets.get_mut(usize::from(channel)).ok_or(CloseCode::Protocol)? {
            Target::Discard => {}
            Target::Pipe(sender) => sender.end(End::Eof),
            Target::Resize(reader) => reader.end(),
        }
        Ok(())
    }

    async fn deliver(&mut self, channel: usize, bytes: &[u8]) {
        match self.targets.get_mut(channel) {
            None | Some(Target::Discard) => {}
            Some(Target::Pipe(sender)) => sender.push(bytes).await,
            Some(Target::Resize(reader)) => reader.push(bytes),
        }
    }

    /// Decodes all whole groups of four characters.
    async fn base64(&mut self, channel: usize, text: &[u8]) -> Result<(), CloseCode> {
        self.rest.extend(text);
        let whole = self.rest.len() / 4 * 4;
        let bytes = STANDARD.decode(&self.rest[..whole]).map_err(|_| CloseCode::Data)?;
        self.rest.drain(..whole);
        self.deliver(channel, &bytes).await;
        Ok(())
    }
}

impl Messages for Channels {
    fn begin(&mut self, opcode: Opcode) -> Result<(), CloseCode> {
        self.state = State::Start;
        self.rest.clear();
        match (self.codec, opcode) {
            (Codec::Base64, _) | (_, Opcode::Binary) => Ok(()),
            _ => Err(CloseCode::Unsupported),
        }
    }

    async fn part(&mut self, bytes: &[u8]) -> Result<(), CloseCode> {
        let mut bytes = bytes;
        while let [first, rest @ ..] = bytes {
            match self.state {
                State::Start => {
                    self.open(*first);
                    bytes = rest;
                }
                State::Close => {
                    self.close(*first)?;
                    self.state = State::Done;
                    bytes = rest;
                }
                State::Done => return Err(CloseCode::Protocol),
                State::Channel(channel) if self.codec == Codec::Base64 => {
                    return self.base64(channel, bytes).await;
                }
                State::Channel(channel) => {
                    self.deliver(channel, bytes).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), CloseCode> {
        match self.state {
            State::Close => Err(CloseCode::Protocol),
            _ if !self.rest.is_empty() => Err(CloseCode::Data),
            _ => Ok(()),
        }
    }

    fn lost(&mut self) {
        for target in &mut self.targets {
            match target {
                Target::Discard => {}
                Target::Pipe(sender) => sender.end(End::Reset),
                Target::Resize(reader) => reader.end(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Resizes, TerminalSize, resizes};
    use crate::pipe::{Reader, pipe};
    use tokio::io::AsyncReadExt;

    fn channels(codec: Codec) -> (Channels, Reader, Resizes) {
        let (sender, reader) = pipe(None);
        let (sizes, resizes) = resizes();
        let targets = vec![Target::Pipe(sender), Target::Discard, Target::Resize(ResizeReader::new(sizes))];
        (Channels::new(codec, targets), reader, resizes)
    }

    async fn message(channels: &mut Channels, opcode: Opcode, parts: &[&[u8]]) -> Result<(), CloseCode> {
        channels.begin(opcode)?;
        for part in parts {
            channels.part(part).await?;
        }
        channels.end()
    }

    async fn all(channels: Channels, mut reader: Reader) -> String {
        let Channels { mut targets, .. } = channels;
        if let Some(Target::Pipe(sender)) = targets.first_mut() {
            sender.end(End::Eof);
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn bytes_reach_their_channel_in_parts() {
        let (mut channels, reader, mut sizes) = channels(Codec::Binary);
        message(&mut channels, Opcode::Binary, &[b"\0one", b"", b" two"]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[b"", b"\0", b" three"]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[b"\x01nowhere"]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[b"\xffnowhere"]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[b"\x02{\"Width\":1,\"Height\":2}\n"]).await.unwrap();
        assert_eq!(sizes.next().await, Some(TerminalSize { width: 1, height: 2 }));
        assert_eq!(all(channels, reader).await, "one two three");
    }

    #[tokio::test]
    async fn a_channel_ends_alone_in_v5() {
        let (mut channels, mut reader, _sizes) = channels(Codec::BinaryWithClose);
        message(&mut channels, Opcode::Binary, &[b"\0last"]).await.unwrap();
        message(&mut channels, Opcode::Binary, &[b"\xff", b"\0"]).await.unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last");
        assert_eq!(message(&mut channels, Opcode::Binary, &[b"\xff\x03"]).await, Err(CloseCode::Protocol));
        assert_eq!(message(&mut channels, Opcode::Binary, &[b"\xff"]).await, Err(CloseCode::Protocol));
        assert_eq!(message(&mut channels, Opcode::Binary, &[b"\xff\0\0"]).await, Err(CloseCode::Protocol));
        assert_eq!(message(&mut channels, Opcode::Text, &[b"\0"]).await, Err(CloseCode::Unsupported));
    }

    #[tokio::test]
    async fn base64_comes_in_any_parts() {
        let (mut channels, reader, _sizes) = channels(Codec::Base64);
        message(&mut channels, Opcode::Text, &[b"0Zm9v", b"Y", b"mFyCg", b"=", b"="]).await.unwrap();
        assert_eq!(message(&mut channels, Opcode::Text, &[b"0Zm9"]).await, Err(CloseCode::Data));
        assert_eq!(message(&mut channels, Opcode::Text, &[b"0Zm9!"]).await, Err(CloseCode::Data));
        message(&mut channels, Opcode::Text, &[b"9Zm9v"]).await.unwrap();
        assert_eq!(all(channels, reader).await, "foobar\n");
    }

    #[tokio::test]
    async fn a_lost_connection_is_not_an_end_of_file() {
        let (mut channels, mut reader, mut sizes) = channels(Codec::Binary);
        channels.lost();
        assert_eq!(reader.read(&mut [0]).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(sizes.next().await, None);
    }
}
