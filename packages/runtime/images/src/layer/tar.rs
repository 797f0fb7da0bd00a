//! Reads tar archives as a stream: ustar, GNU long names and PAX headers, with a limit on everything that is kept in
//! memory. It knows blocks and headers; what an entry may do to a file system is not its matter.

use std::io::{self, Read};

use super::pax;

/// Size of a block.
const BLOCK: usize = 512;
/// The kernel's longest path, and so the longest name of an entry or target of a link.
pub(crate) const LONGEST_PATH: usize = 4095;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// It ends within an entry.
    #[error("the archive ends in the middle of an entry")]
    Truncated,
    /// A header's checksum is wrong, or it is no header.
    #[error("byte {at} of the archive: no tar header with a right checksum")]
    Checksum {
        /// Where the header begins.
        at: u64,
    },
    /// A field that is no number, or one beyond its range.
    #[error("an entry's {field} is no number or out of range")]
    Number {
        /// Which.
        field: &'static str,
    },
    /// Extended headers that are too large.
    #[error("an entry's extended headers have {size} bytes; the limit is {limit}")]
    HeaderSize {
        /// How large.
        size: u64,
        /// The limit.
        limit: usize,
    },
    /// A PAX record that is none.
    #[error("an entry's PAX header has a record that is not `LENGTH KEY=VALUE`")]
    Pax,
    /// A name that no file can have.
    #[error("an entry's {field} is empty, longer than {LONGEST_PATH} bytes, or has a byte 0")]
    Path {
        /// Name or target.
        field: &'static str,
    },
    /// A sparse file.
    #[error("{path:?} is a sparse entry, which is not supported: make the archive without them")]
    Sparse {
        /// Which.
        path: String,
    },
    /// A type that nothing should do something with.
    #[error("{path:?} is an entry of the unknown type {kind:?}")]
    Kind {
        /// Which.
        path: String,
        /// Its type.
        kind: char,
    },
    /// Too many entries.
    #[error("the archive has more than {limit} entries")]
    Entries {
        /// The limit.
        limit: u64,
    },
    /// The stream below.
    #[error("cannot read the archive: {0}")]
    Read(#[source] io::Error),
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character { major: u32, minor: u32 },
    Block { major: u32, minor: u32 },
    Directory,
    Fifo,
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) path: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds.
    pub(crate) mtime: (i64, u32),
    /// Of a file; 0 for anything else.
    pub(crate) size: u64,
    /// The target of a link.
    pub(crate) link: Vec<u8>,
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// An archive that is read from front to back.
pub(crate) struct Archive<R> {
    reader: R,
    longest_header: usize,
    most_entries: u64,
    entries: u64,
    position: u64,
    /// Data of the current entry that was not read yet, and what fills its last block.
    left: u64,
    padding: u64,
    finished: bool,
}

/// Headers that come before the entry that they belong to.
#[derive(Default)]
struct Extended {
    size: u64,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: pax::Records,
}

impl<R: Read> Archive<R> {
    pub(crate) fn new(reader: R, longest_header: usize, most_entries: u64) -> Self {
        Self {
            reader,
            longest_header,
            most_entries,
            entries: 0,
            position: 0,
            left: 0,
            padding: 0,
            finished: false,
        }
    }

    /// The next entry; what was not read of the former one is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut extended = Extended::default();
        loop {
            self.skip_rest()?;
            let Some(header) = self.header()? else {
                return match extended.size {
                    0 => Ok(None),
                    _ => Err(TarError::Truncated),
                };
            };
            self.entries += 1;
            if self.entries > self.most_entries {
                return Err(TarError::Entries { limit: self.most_entries });
            }
            let size = number(&header[124..136], "size")?;
            match header[156] {
                b'L' => extended.name = Some(terminated(&self.extension(&mut extended.size, size)?)),
                b'K' => extended.link = Some(terminated(&self.extension(&mut extended.size, size)?)),
                b'x' | b'X' => {
                    let bytes = self.extension(&mut extended.size, size)?;
                    extended.pax = pax::parse(&bytes).ok_or(TarError::Pax)?;
                }
                // A header for all entries: comments of version control, in practice.
                b'g' => drop(self.extension(&mut extended.size, size)?),
                _ => return self.entry(&header, size, extended).map(Some),
            }
        }
    }

    /// Everything after the last entry, so that a digest of the stream covers it.
    pub(crate) fn drain(&mut self) -> Result<(), TarError> {
        let mut buffer = vec![0; 1 << 16];
        while self.reader.read(&mut buffer).map_err(TarError::Read)? > 0 {}
        Ok(())
    }

    fn entry(&mut self, header: &[u8; BLOCK], size: u64, extended: Extended) -> Result<Entry, TarError> {
        let pax = extended.pax;
        let mut path = pax.path.or(extended.name).unwrap_or_else(|| short_name(header));
        let link = pax.link.or(extended.link).unwrap_or_else(|| terminated(&header[157..257]));
        let size = pax.size.unwrap_or(size);
        let shown = || String::from_utf8_lossy(&path).chars().take(200).collect::<String>();
        if pax.is_sparse || header[156] == b'S' {
            return Err(TarError::Sparse { path: shown() });
        }
        let device = |kind: fn(u32, u32) -> Kind| {
            let major = narrow(number(&header[329..337], "device")?, "device")?;
            let minor = narrow(number(&header[337..345], "device")?, "device")?;
            Ok::<Kind, TarError>(kind(major, minor))
        };
        let kind = match header[156] {
            // Before POSIX, a folder was a file whose name ends so.
            0 | b'0' if path.ends_with(b"/") && header[156] == 0 => Kind::Directory,
            0 | b'0' | b'7' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => device(|major, minor| Kind::Character { major, minor })?,
            b'4' => device(|major, minor| Kind::Block { major, minor })?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(TarError::Kind { path: shown(), kind: char::from(other) }),
        };
        while path.len() > 1 && path.ends_with(b"/") {
            path.pop();
        }
        check_path(&path, "name")?;
        if matches!(kind, Kind::HardLink | Kind::Symlink) {
            check_path(&link, "link target")?;
        }
        let size = if kind == Kind::File { size } else { 0 };
        (self.left, self.padding) = (size, padding(size));
        let mtime = match pax.mtime {
            Some(time) => time,
            None => (signed(&header[136..148], "time")?, 0),
        };
        let id = |from_pax: Option<u64>, field: &[u8], name| {
            let value = from_pax.map_or_else(|| number(field, name), Ok)?;
            // The highest number means "no user" to the kernel.
            narrow(value, name)
                .and_then(|id| if id == u32::MAX { Err(TarError::Number { field: name }) } else { Ok(id) })
        };
        Ok(Entry {
            kind,
            mode: u32::try_from(number(&header[100..108], "mode")? & 0o7777).unwrap_or(0),
            uid: id(pax.uid, &header[108..116], "user")?,
            gid: id(pax.gid, &header[116..124], "group")?,
            mtime,
            size,
            link,
            xattrs: pax.xattrs,
            path,
        })
    }

    /// The data of a header that belongs to a later entry.
    fn extension(&mut self, sum: &mut u64, size: u64) -> Result<Vec<u8>, TarError> {
        *sum = sum.saturating_add(size).saturating_add(1);
        if *sum > self.longest_header as u64 {
            return Err(TarError::HeaderSize { size: *sum, limit: self.longest_header });
        }
        (self.left, self.padding) = (size, padding(size));
        let mut bytes = Vec::new();
        self.by_ref().take(size).read_to_end(&mut bytes).map_err(TarError::Read)?;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(TarError::Truncated) }
    }

    /// A block that is not empty; none at the end, which is two empty blocks or just the end of the stream.
    fn header(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let at = self.position;
        let mut block = [0; BLOCK];
        if self.finished || !self.block(&mut block)? {
            return Ok(None);
        }
        if block.iter().all(|byte| *byte == 0) {
            // One empty block is the end, too: what follows is nobody's.
            self.finished = true;
            return Ok(None);
        }
        let stated = number(&block[148..156], "checksum").map_err(|_| TarError::Checksum { at })?;
        let counted = |byte: (usize, &u8)| if (148..156).contains(&byte.0) { b' ' } else { *byte.1 };
        let unsigned: u64 = block.iter().enumerate().map(|byte| u64::from(counted(byte))).sum();
        // Some old programs added up signed bytes.
        let signed: i64 = block.iter().enumerate().map(|byte| i64::from(counted(byte).cast_signed())).sum();
        if stated != unsigned && i64::try_from(stated) != Ok(signed) {
            return Err(TarError::Checksum { at });
        }
        Ok(Some(block))
    }

    /// Fills a block; false at the end of the stream.
    fn block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(TarError::Truncated),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.position += BLOCK as u64;
        Ok(true)
    }

    fn skip_rest(&mut self) -> Result<(), TarError> {
        let rest = self.left + self.padding;
        if rest == 0 {
            return Ok(());
        }
        let skipped =
            io::copy(&mut self.reader.by_ref().take(rest), &mut io::sink()).map_err(TarError::Read)?;
        (self.left, self.padding) = (0, 0);
        self.position += skipped;
        if skipped == rest { Ok(()) } else { Err(TarError::Truncated) }
    }
}

/// The data of the current entry.
impl<R: Read> Read for Archive<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        self.position += count as u64;
        Ok(count)
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn check_path(path: &[u8], field: &'static str) -> Result<(), TarError> {
    match path.is_empty() || path.len() > LONGEST_PATH || path.contains(&0) {
        true => Err(TarError::Path { field }),
        false => Ok(()),
    }
}

/// Up to the first byte 0.
fn terminated(field: &[u8]) -> Vec<u8> {
    field.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}

/// Name and prefix of the header.
fn short_name(header: &[u8; BLOCK]) -> Vec<u8> {
    let name = terminated(&header[..100]);
    // GNU's own format has times where ustar has a prefix.
    let prefix = terminated(&header[345..500]);
    match &header[257..263] {
        b"ustar\0" if !prefix.is_empty() => [&prefix, b"/".as_slice(), &name].concat(),
        _ => name,
    }
}

fn narrow(value: u64, field: &'static str) -> Result<u32, TarError> {
    u32::try_from(value).map_err(|_| TarError::Number { field })
}

fn number(bytes: &[u8], field: &'static str) -> Result<u64, TarError> {
    u64::try_from(signed(bytes, field)?).map_err(|_| TarError::Number { field })
}

/// Octal digits between spaces and zeros, or GNU's base 256.
fn signed(bytes: &[u8], field: &'static str) -> Result<i64, TarError> {
    let bad = TarError::Number { field };
    if bytes[0] & 0x80 != 0 {
        let is_negative = bytes[0] & 0x40 != 0;
        let (skipped, tail) = bytes.split_at(bytes.len().saturating_sub(8));
        let filler = if is_negative { 0xff } else { 0 };
        let mut wide = [filler; 8];
        wide[8 - tail.len()..].copy_from_slice(tail);
        if skipped.is_empty() {
            wide[0] = if is_negative { bytes[0] } else { bytes[0] & 0x7f };
        }
        let is_wide = skipped.iter().enumerate().any(|(index, byte)| {
            let byte = if index == 0 { if is_negative { *byte } else { byte & 0x7f } } else { *byte };
            byte != filler
        });
        let value = i64::from_be_bytes(wide);
        return if is_wide || (value < 0) != is_negative { Err(bad) } else { Ok(value) };
    }
    let text = bytes.trim_ascii_start();
    let digits = text.split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    digits
        .iter()
        .try_fold(0_i64, |value, digit| match digit {
            b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
            _ => None,
        })
        .ok_or(bad)
}

#[cfg(test)]
#[path = "tar_tests.rs"]
mod tests;
