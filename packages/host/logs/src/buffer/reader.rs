//! What goes to the destination next, in order: notices of what was dropped, then frames. It reads on while the destination
//! has not said yet that it has them, and begins again behind the last one that it has.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::frame::{self, Frame};

use super::cursor::Mark;
use super::{Buffer, segment};

/// Where the sender is.
#[derive(Debug, Default)]
pub struct Reader {
    at: Mark,
    file: Option<(u64, File)>,
    /// Notices that are under way.
    told: BTreeMap<String, u64>,
}

/// Something to send.
#[derive(Debug)]
pub enum Item {
    /// Lines of one source.
    Lines {
        /// A whole frame.
        frame: Vec<u8>,
        /// Whose.
        key: String,
        /// How many lines.
        lines: u32,
        /// Behind it.
        end: Mark,
    },
    /// Lines of a source that were dropped here.
    Notice {
        /// Whose; empty for several.
        key: String,
        /// How many.
        lines: u64,
    },
}

impl Buffer {
    /// Begins behind what the destination has.
    pub fn reader(&self) -> Reader {
        let mut inner = self.inner();
        inner.under_way = None;
        Reader { at: inner.cursor.mark, ..Reader::default() }
    }

    /// Nothing is under way any more: the connection is gone.
    pub fn release(&self) {
        self.inner().under_way = None;
    }

    /// The next thing to send, if there is any.
    pub fn next(&self, reader: &mut Reader) -> io::Result<Option<Item>> {
        loop {
            let (path, bytes) = {
                let mut inner = self.inner();
                for (key, lines) in &inner.ledger.notices {
                    let told = reader.told.get(key).copied().unwrap_or_default();
                    if *lines > told {
                        let (key, lines) = (key.clone(), lines - told);
                        *reader.told.entry(key.clone()).or_default() += lines;
                        return Ok(Some(Item::Notice { key, lines }));
                    }
                }
                // The one that it was in may be given up.
                let found = inner.segments.iter().find(|segment| segment.number >= reader.at.segment);
                let Some(found) = found else { return Ok(None) };
                if found.number > reader.at.segment {
                    reader.at = Mark { segment: found.number, offset: 0 };
                }
                let (number, bytes) = (found.number, found.bytes);
                if reader.at.offset >= bytes {
                    let newest = inner.segments.back().map_or(number, |segment| segment.number);
                    if newest == number {
                        return Ok(None);
                    }
                    reader.at = Mark { segment: number + 1, offset: 0 };
                    continue;
                }
                inner.under_way = inner.under_way.max(Some(number));
                (segment::path(&inner.dir, number), bytes)
            };
            let number = reader.at.segment;
            if reader.file.as_ref().is_none_or(|(of, _)| *of != number) {
                reader.file = Some((number, File::open(path)?));
            }
            let Some((_, file)) = &reader.file else { continue };
            let Some(bytes) = read_frame(file, reader.at.offset, bytes)? else {
                self.give_up(number);
                reader.at = Mark { segment: number + 1, offset: 0 };
                continue;
            };
            reader.at.offset += bytes.len() as u64;
            let (key, lines) = match frame::decode(&mut bytes.as_slice()) {
                Some(Frame::Batch(batch)) => (batch.key.to_owned(), batch.lines),
                Some(Frame::Head(_)) => continue,
                None => {
                    self.give_up(number);
                    reader.at = Mark { segment: number + 1, offset: 0 };
                    continue;
                }
            };
            return Ok(Some(Item::Lines { frame: bytes, key, lines, end: reader.at }));
        }
    }

    /// The destination has it, but for some lines that it says it does not want.
    pub fn acked(&self, item: &Item, reader: &mut Reader, refused: u64) -> io::Result<()> {
        let mut inner = self.inner();
        match item {
            Item::Notice { key, lines } => {
                inner.ledger.told(key, *lines);
                if let Some(told) = reader.told.get_mut(key) {
                    *told = told.saturating_sub(*lines);
                }
                let dir = inner.dir.clone();
                inner.ledger.save(&dir)
            }
            Item::Lines { key, lines, end, .. } => {
                let (lines, refused) = (u64::from(*lines), refused.min(u64::from(*lines)));
                if end.segment != inner.cursor.mark.segment {
                    inner.acked.clear();
                    inner.acked_frames = 0;
                }
                inner.acked_frames += 1;
                *inner.acked.entry(key.clone()).or_default() += lines;
                inner.cursor.mark = *end;
                inner.cursor.sent += lines - refused;
                inner.figures.sent = inner.cursor.sent;
                inner.figures.waiting = inner.figures.waiting.saturating_sub(lines);
                if refused > 0 {
                    inner.figures.refused += refused;
                    inner.figures.dropped += refused;
                    inner.ledger.drop_lines(key, refused);
                    let dir = inner.dir.clone();
                    inner.ledger.save(&dir)?;
                }
                inner.cursor.save()?;
                inner.release()
            }
        }
    }

    /// A segment cannot be read: the disk has lost it.
    fn give_up(&self, number: u64) {
        let mut inner = self.inner();
        let newest = inner.segments.back().map_or(number, |segment| segment.number);
        if newest == number && inner.next_segment().is_err() {
            return;
        }
        // The rest of it is dropped; what is under way counts as that, too.
        inner.under_way = number.checked_sub(1);
        let place = inner.segments.iter().position(|segment| segment.number == number);
        if place.is_some() {
            let _ = inner.drop_oldest();
        }
    }
}

/// The frame at a place of a segment of so many bytes; none when it is damaged.
fn read_frame(file: &File, offset: u64, end: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; frame::HEADER];
    let whole = |result: io::Result<()>| match result {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| true),
    };
    if !whole(file.read_exact_at(&mut bytes, offset))? {
        return Ok(None);
    }
    let Some(len) = frame::payload_len(&bytes) else { return Ok(None) };
    if offset + (frame::HEADER + len) as u64 > end {
        return Ok(None);
    }
    bytes.resize(frame::HEADER + len, 0);
    let read = whole(file.read_exact_at(&mut bytes[frame::HEADER..], offset + frame::HEADER as u64))?;
    Ok(read.then_some(bytes))
}
