//! The wrappings in which a config arrives: percent, base64, gzip. All are bounded by [`crate::MAX_BYTES`].

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::document::MAX_BYTES;

/// Tools disagree on padding, so both forms are read.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A wrapping that cannot be undone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodingError {
    /// Not base64 (RFC 4648 section 4).
    #[error("not base64")]
    Base64,
    /// Not gzip (RFC 1952), damaged, or too large.
    #[error("not gzip, damaged, or larger than {MAX_BYTES} bytes")]
    Gzip,
    /// A percent sign without two hexadecimal digits, or a result that is no UTF-8.
    #[error("bad percent encoding")]
    Percent,
    /// A name nobody knows.
    #[error("unknown encoding {0:?} (known: base64, gzip+base64)")]
    Unknown(String),
}

/// Decodes base64; white space, as line breaks, is skipped.
pub fn base64(text: &str) -> Result<Vec<u8>, EncodingError> {
    let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    BASE64.decode(packed).map_err(|_| EncodingError::Base64)
}

/// Undoes percent encoding (RFC 3986 section 2.1).
pub fn percent(text: &str) -> Result<String, EncodingError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(EncodingError::Percent) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (Some(high), Some(low)) = (digit(*high), digit(*low)) else { return Err(EncodingError::Percent) };
        bytes.push(high << 4 | low);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| EncodingError::Percent)
}

/// Unpacks one gzip member (RFC 1952).
pub fn gzip(bytes: &[u8]) -> Result<Vec<u8>, EncodingError> {
    let body = bytes.get(header_length(bytes)?..).ok_or(EncodingError::Gzip)?;
    let (deflated, trailer) =
        body.split_at_checked(body.len().saturating_sub(8)).ok_or(EncodingError::Gzip)?;
    let unpacked = miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, MAX_BYTES)
        .map_err(|_| EncodingError::Gzip)?;
    let checksum = trailer.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    if checksum == Some(crc32fast::hash(&unpacked)) { Ok(unpacked) } else { Err(EncodingError::Gzip) }
}

fn header_length(bytes: &[u8]) -> Result<usize, EncodingError> {
    const EXTRA: u8 = 1 << 2;
    const NAME: u8 = 1 << 3;
    const COMMENT: u8 = 1 << 4;
    const HEADER_CHECKSUM: u8 = 1 << 1;
    let [0x1f, 0x8b, 8, flags, ..] = bytes else { return Err(EncodingError::Gzip) };
    let mut length = 10;
    if flags & EXTRA != 0 {
        let size = bytes.get(length..length + 2).ok_or(EncodingError::Gzip)?;
        length += 2 + usize::from(u16::from_le_bytes([size[0], size[1]]));
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            let text = bytes.get(length..).ok_or(EncodingError::Gzip)?;
            length += text.iter().position(|byte| *byte == 0).ok_or(EncodingError::Gzip)? + 1;
        }
    }
    Ok(if flags & HEADER_CHECKSUM != 0 { length + 2 } else { length })
}

/// A config that stands where one value has room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inline {
    /// Its text.
    Text(Vec<u8>),
    /// Where it is fetched.
    Url(String),
}

/// Reads a URL, base64 (also of gzip), or TOML with percent encoding, which its first characters and alphabet tell apart.
pub fn inline(value: &str) -> Result<Inline, EncodingError> {
    if value.starts_with("http://") || value.starts_with("https://") {
        return Ok(Inline::Url(value.to_owned()));
    }
    // Every TOML that says something has a character that base64 lacks, or an equals sign before its end.
    match base64(value) {
        Ok(bytes) if bytes.starts_with(&[0x1f, 0x8b]) => gzip(&bytes).map(Inline::Text),
        Ok(bytes) => Ok(Inline::Text(bytes)),
        Err(error) => {
            let text = percent(value)?;
            // Without an equals sign it says nothing as TOML: it was meant as base64, and was damaged.
            let is_toml = text.trim_end_matches('=').contains('=');
            if is_toml { Ok(Inline::Text(text.into_bytes())) } else { Err(error) }
        }
    }
}

/// Undoes an encoding by its name as guestinfo and other metadata write it; an empty name is plain text.
pub fn named(encoding: &str, text: &str) -> Result<Vec<u8>, EncodingError> {
    match encoding.trim() {
        "" => Ok(text.as_bytes().to_vec()),
        "base64" | "b64" => base64(text),
        "gzip+base64" | "gz+b64" => gzip(&base64(text)?),
        other => Err(EncodingError::Unknown(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn percent_and_base64() {
        assert_eq!(percent("a%20%3d%0Ab").unwrap(), "a =\nb");
        for bad in ["%", "%1", "%zz", "%ff", "%+1"] {
            assert_eq!(percent(bad), Err(EncodingError::Percent), "{bad}");
        }
        assert_eq!(base64("aG9z\n dA==").unwrap(), b"host");
        assert_eq!(base64("aG9zdA").unwrap(), b"host");
        assert_eq!(base64("a=b"), Err(EncodingError::Base64));
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut writer = flate2::GzBuilder::new()
            .filename("config.toml")
            .comment("c")
            .extra([1, 2, 3])
            .write(Vec::new(), flate2::Compression::default());
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn gzip_by_another_writer() {
        let mut bytes = packed(b"hostname = 'x'");
        assert_eq!(gzip(&bytes).unwrap(), b"hostname = 'x'");
        for length in 0..bytes.len() {
            assert_eq!(gzip(&bytes[..length]), Err(EncodingError::Gzip), "cut at {length}");
        }
        let last = bytes.len() - 8;
        bytes[last] ^= 1;
        assert_eq!(gzip(&bytes), Err(EncodingError::Gzip), "wrong checksum");
        assert_eq!(gzip(&packed(&vec![b'a'; MAX_BYTES + 1])), Err(EncodingError::Gzip), "a bomb");
    }

    #[test]
    fn inline_forms() {
        let text = |text: &str| Ok(Inline::Text(text.as_bytes().to_vec()));
        assert_eq!(inline("hostname=%22edge-1%22"), text("hostname=\"edge-1\""));
        assert_eq!(inline("hostname = 'x'"), text("hostname = 'x'"));
        assert_eq!(inline("aG9zdG5hbWU9J3gn"), text("hostname='x'"));
        let packed = BASE64.encode(packed(b"hostname='x'"));
        assert_eq!(inline(&packed), text("hostname='x'"));
        assert_eq!(inline("https://192.0.2.1/a"), Ok(Inline::Url("https://192.0.2.1/a".to_owned())));
        assert_eq!(inline("a=%2"), Err(EncodingError::Percent));
        for damaged in ["aG9zdG5hbWU9J3gn!", "aG9zd!5hbWU9J3g==", "aG9zdG5h-WU9J3gn"] {
            assert_eq!(inline(damaged), Err(EncodingError::Base64), "{damaged}");
        }
    }

    #[test]
    fn names() {
        assert_eq!(named("", "x").unwrap(), b"x");
        assert_eq!(named("base64", "eA==").unwrap(), b"x");
        assert_eq!(named("rot13", "x"), Err(EncodingError::Unknown("rot13".to_owned())));
    }
}
