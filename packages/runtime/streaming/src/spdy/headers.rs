//! Header blocks of SPDY/3 (section 2.6.10): names and values, compressed with one zlib stream per direction.
//!
//! A block is at most [`BLOCK_LIMIT`] bytes after decompression, whatever a few compressed bytes claim.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use thiserror::Error;

use super::dictionary::dictionary;

/// Bytes of a decompressed block; Kubernetes' clients send about 60.
const BLOCK_LIMIT: usize = 16 * 1024;
/// Headers of a block; Kubernetes' clients send 3.
const COUNT_LIMIT: u32 = 100;

/// Why a block cannot be read; the connection is over then, because both ends share the compression's state.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Not zlib, or with another dictionary.
    #[error("a header block is not compressed as SPDY/3 wants it")]
    Compression,
    /// A bomb, or a client with very long headers.
    #[error("a header block is longer than {BLOCK_LIMIT} bytes")]
    TooLong,
    /// More of them than anybody needs.
    #[error("a header block has {0} headers, more than {COUNT_LIMIT}")]
    TooMany(u32),
    /// Lengths beyond the block, or bytes behind it.
    #[error("a header block's lengths do not add up")]
    Length,
    /// Empty, with capitals, or not UTF-8.
    #[error("a header's name or value is not allowed")]
    Text,
    /// Two headers with one name.
    #[error("a header block has the header {0} twice")]
    Twice(String),
}

/// The headers of a stream.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// Headers with these names, in lower case, and values.
    pub fn new(all: &[(&str, &str)]) -> Self {
        Self(all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The first value of a header, by its name in lower case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| known == name)?;
        // Several values of one name are separated by NUL.
        value.split('\0').next()
    }
}

/// Reads the blocks of one direction, in their order.
#[derive(Debug)]
pub struct HeaderReader {
    inflate: Decompress,
    block: Vec<u8>,
}

impl HeaderReader {
    /// For the beginning of a connection.
    #[expect(clippy::new_without_default, reason = "a connection's state begins on purpose")]
    pub fn new() -> Self {
        Self { inflate: Decompress::new(true), block: vec![0; BLOCK_LIMIT] }
    }

    /// The headers of the next block.
    pub fn read(&mut self, compressed: &[u8]) -> Result<Headers, HeaderError> {
        let length = self.inflate(compressed)?;
        parse(&self.block[..length])
    }

    fn inflate(&mut self, compressed: &[u8]) -> Result<usize, HeaderError> {
        let (mut read, mut written) = (0, 0);
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let output = &mut self.block[written..];
            let result = self.inflate.decompress(&compressed[read..], output, FlushDecompress::Sync);
            read += usize::try_from(self.inflate.total_in() - before_in).expect("it is part of a slice");
            written += usize::try_from(self.inflate.total_out() - before_out).expect("it is part of a slice");
            match result {
                Ok(Status::StreamEnd) => return Err(HeaderError::Compression),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.inflate.set_dictionary(dictionary()).map_err(|_| HeaderError::Compression)?;
                    continue;
                }
                Err(_) => return Err(HeaderError::Compression),
            }
            if written == self.block.len() {
                return Err(HeaderError::TooLong);
            }
            let stuck = before_in == self.inflate.total_in() && before_out == self.inflate.total_out();
            if read == compressed.len() || stuck {
                return Ok(written);
            }
        }
    }
}

fn parse(mut block: &[u8]) -> Result<Headers, HeaderError> {
    let count = number(&mut block)?;
    if count > COUNT_LIMIT {
        return Err(HeaderError::TooMany(count));
    }
    let mut headers = Headers::default();
    for _ in 0..count {
        let name = text(&mut block)?;
        let value = text(&mut block)?;
        if name.is_empty() || name.bytes().any(|byte| byte.is_ascii_uppercase() || byte == 0) {
            return Err(HeaderError::Text);
        }
        if headers.0.iter().any(|(known, _)| *known == name) {
            return Err(HeaderError::Twice(name));
        }
        headers.0.push((name, value));
    }
    if block.is_empty() { Ok(headers) } else { Err(HeaderError::Length) }
}

fn number(block: &mut &[u8]) -> Result<u32, HeaderError> {
    let (bytes, rest) = block.split_first_chunk().ok_or(HeaderError::Length)?;
    *block = rest;
    Ok(u32::from_be_bytes(*bytes))
}

fn text(block: &mut &[u8]) -> Result<String, HeaderError> {
    let length = usize::try_from(number(block)?).map_err(|_| HeaderError::Length)?;
    let (bytes, rest) = block.split_at_checked(length).ok_or(HeaderError::Length)?;
    *block = rest;
    String::from_utf8(bytes.to_vec()).map_err(|_| HeaderError::Text)
}

/// Writes the blocks of one direction, in their order.
#[derive(Debug)]
pub struct HeaderWriter(Compress);

impl HeaderWriter {
    /// For the beginning of a connection.
    #[expect(clippy::new_without_default, reason = "a connection's state begins on purpose")]
    pub fn new() -> Self {
        let mut deflate = Compress::new(Compression::fast(), true);
        deflate.set_dictionary(dictionary()).expect("nothing was compressed yet");
        Self(deflate)
    }

    /// The next block.
    pub fn write(&mut self, headers: &Headers) -> Vec<u8> {
        let mut block = Vec::new();
        let number = |length: usize| u32::try_from(length).expect("headers of ours are short").to_be_bytes();
        block.extend(number(headers.0.len()));
        for (name, value) in &headers.0 {
            for text in [name, value] {
                block.extend(number(text.len()));
                block.extend(text.as_bytes());
            }
        }
        // Compressed bytes are hardly longer than plain ones, and a flush adds less than this.
        let mut compressed = Vec::with_capacity(block.len() + 64);
        let before = self.0.total_in();
        loop {
            let done = usize::try_from(self.0.total_in() - before).expect("it is part of a block");
            self.0
                .compress_vec(&block[done..], &mut compressed, FlushCompress::Sync)
                .expect("the parameters are constant");
            if compressed.len() < compressed.capacity() {
                return compressed;
            }
            compressed.reserve(64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(blocks: &[Headers]) {
        let (mut writer, mut reader) = (HeaderWriter::new(), HeaderReader::new());
        for headers in blocks {
            assert_eq!(reader.read(&writer.write(headers)).unwrap(), *headers);
        }
    }

    /// A block with these bytes, compressed.
    fn compressed(plain: &[u8]) -> Vec<u8> {
        let mut writer = HeaderWriter::new();
        let mut bytes = Vec::with_capacity(plain.len() + 1000);
        writer.0.compress_vec(plain, &mut bytes, FlushCompress::Sync).unwrap();
        bytes
    }

    fn error(plain: &[u8]) -> String {
        HeaderReader::new().read(&compressed(plain)).unwrap_err().to_string()
    }

    #[test]
    fn blocks_of_one_connection_share_their_compression() {
        let stream = |kind, id| Headers::new(&[("port", "8080"), ("requestid", id), ("streamtype", kind)]);
        exchange(&[stream("error", "0"), stream("data", "0"), Headers::default(), stream("error", "1")]);
        let (mut writer, long) = (HeaderWriter::new(), stream("error", "0"));
        assert!(writer.write(&long).len() > writer.write(&long).len());
        exchange(&[Headers::new(&[("x", &"long ".repeat(3000))])]);
    }

    #[test]
    fn a_block_of_kubernetes_client() {
        // SYN_STREAM's block for the error stream of an exec, as spdystream 0.5.1 writes it.
        let bytes = [
            0x78, 0xf9, 0xe3, 0xc6, 0xa7, 0xc2, 0x62, 0x60, 0x60, 0x60, 0x04, 0xa7, 0xb3, 0x92, 0xa2, 0xd4,
            0xc4, 0x5c, 0x68, 0x51, 0xc2, 0x9a, 0x0a, 0x0a, 0x68, 0x00, 0x00, 0x00, 0xff, 0xff,
        ];
        let headers = HeaderReader::new().read(&bytes).unwrap();
        assert_eq!(headers.get("streamtype"), Some("error"));
    }

    #[test]
    fn the_first_of_several_values() {
        assert_eq!(Headers::new(&[("a", "one\0two")]).get("a"), Some("one"));
        assert_eq!(Headers::new(&[("a", "one")]).get("b"), None);
    }

    #[test]
    fn hostile_blocks() {
        assert_eq!(error(&vec![0; 10_000_000]), "a header block is longer than 16384 bytes");
        assert_eq!(error(&[0, 0, 1, 0]), "a header block has 256 headers, more than 100");
        assert_eq!(error(&[0, 0, 0, 1]), "a header block's lengths do not add up");
        assert_eq!(error(&[0, 0, 0, 1, 0, 0, 0, 9, 97]), "a header block's lengths do not add up");
        assert_eq!(error(&[0, 0, 0, 1, 255, 255, 255, 255]), "a header block's lengths do not add up");
        assert_eq!(error(&[0, 0, 0, 0, 0]), "a header block's lengths do not add up");
        assert_eq!(error(b"\0\0\0\x01\0\0\0\x01A\0\0\0\0"), "a header's name or value is not allowed");
        assert_eq!(error(b"\0\0\0\x01\0\0\0\0\0\0\0\0"), "a header's name or value is not allowed");
        let twice = b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0";
        assert_eq!(error(twice), "a header block has the header a twice");
        let plain = HeaderReader::new().read(b"plain text").unwrap_err();
        assert!(matches!(plain, HeaderError::Compression), "{plain}");
    }
}
