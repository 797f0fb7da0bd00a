//! D-Bus's marshalling, as far as it is needed: numbers, strings, and values of one basic type.
//!
//! Positions count from the start of a message, because alignment does.

/// Why bytes are no message; the connection that sent them is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no good D-Bus message: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

/// Reads values one after the other; never past the end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    is_big: bool,
}

impl<'a> Reader<'a> {
    /// Values in `bytes`, the first at `at`.
    pub(crate) fn new(bytes: &'a [u8], at: usize, is_big: bool) -> Self {
        Self { bytes, at, is_big }
    }

    /// Where the next value begins, before its alignment.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Skips the zeros before a value that begins at a multiple of `size`.
    pub(crate) fn align(&mut self, size: usize) -> Result<(), Malformed> {
        let padding = self.at.next_multiple_of(size) - self.at;
        match self.take(padding)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Malformed("padding is not zero")),
        }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(length).ok_or(Malformed("a length is too great"))?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed("it ends within a value"))?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| Malformed("it ends within a number"))?;
        Ok(if self.is_big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::try_from(self.u32()?).map_err(|_| Malformed("a string is too long"))?;
        self.text(length)
    }

    /// A signature: types of values, in letters.
    pub(crate) fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let bytes = self.take(length)?;
        if self.byte()? != 0 {
            return Err(Malformed("a string does not end with zero"));
        }
        if bytes.contains(&0) {
            return Err(Malformed("a string holds a zero byte"));
        }
        std::str::from_utf8(bytes).map_err(|_| Malformed("a string is not UTF-8"))
    }

    /// Passes over one value of a basic type; others are nowhere in what is read here.
    pub(crate) fn skip(&mut self, kind: &str) -> Result<(), Malformed> {
        let size = match kind {
            "s" | "o" => return self.string().map(|_| ()),
            "g" => return self.signature().map(|_| ()),
            "y" => 1,
            "n" | "q" => 2,
            "b" | "i" | "u" | "h" => 4,
            "x" | "t" | "d" => 8,
            _ => return Err(Malformed("an unknown header field is of no basic type")),
        };
        self.align(size)?;
        self.take(size).map(|_| ())
    }
}

/// Writes values one after the other, little endian.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn align(&mut self, size: usize) {
        self.0.resize(self.0.len().next_multiple_of(size), 0);
    }

    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.align(4);
        self.0.extend(number.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, number: u64) {
        self.align(8);
        self.0.extend(number.to_le_bytes());
    }

    /// A string or an object path.
    pub(crate) fn string(&mut self, text: &str) {
        self.u32(length(text.len()));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    /// A signature of this crate's own: they are short.
    pub(crate) fn signature(&mut self, text: &'static str) {
        self.0.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
        self.0.extend(text.as_bytes());
        self.0.push(0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
    }

    /// Writes a number over the one at `at`.
    pub(crate) fn set_u32(&mut self, at: usize, number: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&number.to_le_bytes());
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// What is written here is far shorter than that.
pub(crate) fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back() {
        let mut writer = Writer::default();
        writer.byte(7);
        writer.u32(0x0102_0304);
        writer.string("kubelet");
        writer.signature("ss");
        writer.u64(5);
        writer.set_u32(4, 9);
        let bytes = writer.finish();
        let mut reader = Reader::new(&bytes, 0, false);
        assert_eq!(reader.byte(), Ok(7));
        assert_eq!(reader.u32(), Ok(9));
        assert_eq!(reader.string(), Ok("kubelet"));
        assert_eq!(reader.signature(), Ok("ss"));
        assert_eq!(reader.skip("t"), Ok(()));
        assert_eq!((reader.at(), reader.byte().is_err()), (bytes.len(), true));
    }

    #[test]
    fn big_endian_numbers() {
        assert_eq!(Reader::new(&[0, 0, 1, 2], 0, true).u32(), Ok(0x102));
    }

    #[test]
    fn bad_strings() {
        for bytes in [
            &b"\x01\0\0\0a"[..],    // no end
            b"\x01\0\0\0ab",        // another byte where zero belongs
            b"\x02\0\0\0a\0\0",     // zero within
            b"\x01\0\0\0\xff\0",    // no UTF-8
            b"\xff\xff\xff\xffa\0", // far too long
            b"\x01\0\0",            // no length
        ] {
            assert!(Reader::new(bytes, 0, false).string().is_err(), "{bytes:?}");
        }
        assert_eq!(Reader::new(b"\0\0\0\0\0", 0, false).string(), Ok(""));
        let mut padded = Reader::new(b"\0\x01\0\0\x05\0\0\0", 1, false);
        assert_eq!(padded.u32(), Err(Malformed("padding is not zero")));
    }

    #[test]
    fn only_basic_types_are_skipped() {
        for kind in ["", "as", "v", "(u)", "uu", "a{sv}", "z"] {
            assert!(Reader::new(&[0; 64], 0, false).skip(kind).is_err(), "{kind:?}");
        }
    }
}
