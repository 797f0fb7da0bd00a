//! Messages: what is read of those that come, and those that are sent.

use std::os::fd::OwnedFd;

use crate::wire::{Malformed, Reader, Writer, length};

/// The longest message that is taken, in bytes; kubelet's have less than 300. The protocol allows 128 MiB.
pub(crate) const LONGEST: usize = 64 * 1024;
/// The part of a message whose size is always the same.
const HEAD: usize = 16;
const BIG_ENDIAN: u8 = b'B';
const LITTLE_ENDIAN: u8 = b'l';
const VERSION: u8 = 1;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
/// The caller wants no answer.
const NO_REPLY: u8 = 1;

const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;
const UNIX_FDS: u8 = 9;

/// How many bytes the message has that `bytes` begin with, once that can be known.
pub(crate) fn frame(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some(head) = bytes.get(..HEAD) else { return Ok(None) };
    let mut reader = Reader::new(head, 4, is_big(head)?);
    let size = |number: Result<u32, Malformed>| {
        let number = usize::try_from(number?).unwrap_or(usize::MAX);
        if number > LONGEST { Err(Malformed("it is longer than 64 KiB")) } else { Ok(number) }
    };
    let body = size(reader.u32())?;
    reader.u32()?;
    let fields = size(reader.u32())?;
    let whole = HEAD + fields.next_multiple_of(8) + body;
    if whole > LONGEST { Err(Malformed("it is longer than 64 KiB")) } else { Ok(Some(whole)) }
}

fn is_big(head: &[u8]) -> Result<bool, Malformed> {
    match head.first() {
        Some(&BIG_ENDIAN) => Ok(true),
        Some(&LITTLE_ENDIAN) => Ok(false),
        _ => Err(Malformed("unknown byte order")),
    }
}

/// A method call.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) serial: u32,
    pub(crate) wants_reply: bool,
    pub(crate) path: &'a str,
    pub(crate) interface: Option<&'a str>,
    pub(crate) member: &'a str,
    pub(crate) destination: Option<&'a str>,
    signature: &'a str,
    body: Option<Reader<'a>>,
}

impl<'a> Call<'a> {
    /// Reads a whole message; `None` for those that ask for nothing: answers and signals.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<Self>, Malformed> {
        let is_big = is_big(bytes)?;
        let mut reader = Reader::new(bytes, 1, is_big);
        let (kind, flags, version) = (reader.byte()?, reader.byte()?, reader.byte()?);
        if version != VERSION {
            return Err(Malformed("unknown version of the protocol"));
        }
        let body_length = reader.u32()?;
        let serial = reader.u32()?;
        if serial == 0 {
            return Err(Malformed("its serial number is 0"));
        }
        let mut call = Self { serial, wants_reply: flags & NO_REPLY == 0, ..Self::default() };
        let fields = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let end = reader.at().saturating_add(fields);
        while reader.at() < end {
            call.field(&mut reader)?;
        }
        if reader.at() != end {
            return Err(Malformed("its header fields end within one"));
        }
        reader.align(8)?;
        if bytes.len() - reader.at() != usize::try_from(body_length).unwrap_or(usize::MAX) {
            return Err(Malformed("its body has another length"));
        }
        call.body = Some(reader);
        match kind {
            CALL if call.path.is_empty() || call.member.is_empty() => {
                Err(Malformed("a call without path or member"))
            }
            CALL => Ok(Some(call)),
            RETURN | ERROR | SIGNAL => Ok(None),
            _ => Err(Malformed("unknown kind of message")),
        }
    }

    fn field(&mut self, reader: &mut Reader<'a>) -> Result<(), Malformed> {
        reader.align(8)?;
        let code = reader.byte()?;
        let kind = reader.signature()?;
        match (code, kind) {
            (PATH, "o") => self.path = reader.string()?,
            (INTERFACE, "s") => self.interface = Some(reader.string()?),
            (MEMBER, "s") => self.member = reader.string()?,
            (DESTINATION, "s") => self.destination = Some(reader.string()?),
            (SIGNATURE, "g") => self.signature = reader.signature()?,
            (ERROR_NAME | SENDER, "s") | (REPLY_SERIAL | UNIX_FDS, "u") => reader.skip(kind)?,
            (0 | PATH..=UNIX_FDS, _) => return Err(Malformed("a header field has another type")),
            // Fields of a later version are passed over, as the protocol asks.
            _ => reader.skip(kind)?,
        }
        Ok(())
    }

    /// Its arguments, when they are `N` strings.
    pub(crate) fn strings<const N: usize>(&self) -> Result<Option<[&'a str; N]>, Malformed> {
        let is_right = self.signature.len() == N && self.signature.bytes().all(|letter| letter == b's');
        let Some(mut reader) = self.body.clone().filter(|_| is_right) else { return Ok(None) };
        let mut strings = [""; N];
        for string in &mut strings {
            *string = reader.string()?;
        }
        Ok(Some(strings))
    }
}

/// What an answer or a signal holds.
#[derive(Debug)]
pub(crate) enum Body {
    Nothing,
    /// A string.
    Text(String),
    /// A variant with a number of 64 bits.
    Number(u64),
    /// A truth value.
    Flag(bool),
    /// A file descriptor, which goes beside the message.
    Descriptor(OwnedFd),
}

impl Body {
    fn signature(&self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Text(_) => "s",
            Self::Number(_) => "v",
            Self::Flag(_) => "b",
            Self::Descriptor(_) => "h",
        }
    }

    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Nothing => {}
            Self::Text(text) => writer.string(text),
            Self::Number(number) => {
                writer.signature("t");
                writer.u64(*number);
            }
            Self::Flag(flag) => writer.u32(u32::from(*flag)),
            // Its place among the descriptors of the message.
            Self::Descriptor(_) => writer.u32(0),
        }
    }
}

/// A message to a client.
#[derive(Debug)]
pub(crate) enum Message<'a> {
    /// To the call with this serial number.
    Answer(u32, Body),
    /// That the call with this serial number failed: the error's name, and what it says.
    Refusal(u32, &'static str, String),
    /// Path, interface, member, contents.
    Signal(&'a str, &'a str, &'a str, Body),
}

impl Message<'_> {
    /// The message as bytes, and the descriptor that goes with them.
    pub(crate) fn write(self, serial: u32, sender: &str, to: Option<&str>) -> (Vec<u8>, Option<OwnedFd>) {
        let mut writer = Writer::default();
        let kind = match &self {
            Self::Answer(..) => RETURN,
            Self::Refusal(..) => ERROR,
            Self::Signal(..) => SIGNAL,
        };
        [LITTLE_ENDIAN, kind, 0, VERSION].into_iter().for_each(|byte| writer.byte(byte));
        // The lengths of body and fields are known when these are written.
        writer.u32(0);
        writer.u32(serial);
        writer.u32(0);
        let body = match self {
            Self::Answer(reply, body) => {
                number(&mut writer, REPLY_SERIAL, reply);
                to.into_iter().for_each(|to| text(&mut writer, DESTINATION, "s", to));
                body
            }
            Self::Refusal(reply, name, says) => {
                text(&mut writer, ERROR_NAME, "s", name);
                number(&mut writer, REPLY_SERIAL, reply);
                to.into_iter().for_each(|to| text(&mut writer, DESTINATION, "s", to));
                Body::Text(says)
            }
            Self::Signal(path, interface, member, body) => {
                text(&mut writer, PATH, "o", path);
                text(&mut writer, INTERFACE, "s", interface);
                text(&mut writer, MEMBER, "s", member);
                body
            }
        };
        text(&mut writer, SENDER, "s", sender);
        let signature = body.signature();
        if !signature.is_empty() {
            field(&mut writer, SIGNATURE, "g");
            writer.signature(signature);
        }
        if matches!(body, Body::Descriptor(_)) {
            number(&mut writer, UNIX_FDS, 1);
        }
        let fields = writer.len() - HEAD;
        writer.set_u32(12, length(fields));
        writer.align(8);
        let mut content = Writer::default();
        body.write(&mut content);
        let content = content.finish();
        writer.set_u32(4, length(content.len()));
        writer.bytes(&content);
        let descriptor = if let Body::Descriptor(descriptor) = body { Some(descriptor) } else { None };
        (writer.finish(), descriptor)
    }
}

fn field(writer: &mut Writer, code: u8, kind: &'static str) {
    writer.align(8);
    writer.byte(code);
    writer.signature(kind);
}

fn number(writer: &mut Writer, code: u8, number: u32) {
    field(writer, code, "u");
    writer.u32(number);
}

fn text(writer: &mut Writer, code: u8, kind: &'static str, text: &str) {
    field(writer, code, kind);
    writer.string(text);
}

#[cfg(test)]
mod tests;
