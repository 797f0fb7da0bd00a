//! What waits for one destination: segments of frames on the state partition, or in a file system in memory, with a bound.
//! The oldest segment goes when there are too many, its lines are counted, and the stream says so.
//!
//! The position of every source stands in the frames themselves, so lines and position are written by one call: after a crash
//! both are there or neither. `cursor.rs` keeps how far the destination has them, `ledger.rs` what was dropped. Nothing is
//! synchronised: after a power cut the end may be missing, and then it is read from the sources again.
//!
//! taken = sent + dropped + waiting, in lines, at every moment.

mod cursor;
mod ledger;
mod reader;
mod recover;
mod segment;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::frame::{self, Batch, Position};
use cursor::CursorFile;
use ledger::Ledger;
use segment::Segment;

pub use cursor::Mark;
pub use reader::{Item, Reader};

/// Segments of a buffer: as many as keep what is dropped at once small.
const SEGMENTS: u64 = 16;
/// Bytes of a segment, at least and at most.
const SEGMENT_BYTES: (u64, u64) = (64 << 10, 4 << 20);

/// A buffer.
#[derive(Debug)]
pub struct Buffer {
    inner: Mutex<Inner>,
    /// There is something to send.
    ready: Notify,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    limit: u64,
    segment_bytes: u64,
    /// The oldest first; the last one grows.
    segments: VecDeque<Segment>,
    file: File,
    positions: BTreeMap<String, Position>,
    cursor: CursorFile,
    /// Lines of the cursor's segment that the destination has.
    acked: BTreeMap<String, u64>,
    /// Frames of it that the destination has.
    acked_frames: u64,
    ledger: Ledger,
    /// The newest segment that is under way.
    under_way: Option<u64>,
    figures: Figures,
}

/// Figures of a buffer, in lines unless the name says else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The destination has them; since the buffer was made.
    pub sent: u64,
    /// They were given up; since the buffer was made.
    pub dropped: u64,
    /// They wait.
    pub waiting: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Of those sent, a destination said that it does not want them; they count as dropped. Since this program's start.
    pub refused: u64,
    /// The disk did not take them; they count as dropped. Since this program's start.
    pub unwritten: u64,
}

impl Buffer {
    /// Opens or makes the buffer in a folder, for so many bytes.
    pub fn open(dir: &Path, limit: u64) -> io::Result<Self> {
        let segment_bytes = (limit / SEGMENTS).clamp(SEGMENT_BYTES.0, SEGMENT_BYTES.1);
        let recovered = recover::recover(dir)?;
        let mut figures = Figures {
            sent: recovered.cursor.sent,
            dropped: recovered.ledger.dropped,
            waiting: recovered.waiting,
            ..Figures::default()
        };
        figures.bytes = recovered.segments.iter().map(|segment| segment.bytes).sum();
        let mut inner = Inner {
            dir: dir.to_owned(),
            limit,
            segment_bytes,
            segments: recovered.segments,
            file: recovered.file,
            positions: recovered.positions,
            cursor: recovered.cursor,
            acked: recovered.acked,
            acked_frames: recovered.acked_frames,
            ledger: recovered.ledger,
            under_way: None,
            figures,
        };
        // The bound may be another one now.
        inner.make_room()?;
        Ok(Self { inner: Mutex::new(inner), ready: Notify::new() })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines: `frame` is what `batch` encodes to. A disk that refuses costs these lines and nothing else.
    pub fn append(&self, batch: &Batch<'_>, frame: &[u8]) -> io::Result<()> {
        let mut inner = self.inner();
        let result = match inner.append(batch, frame) {
            // What is in the buffer takes the room that is missing.
            Err(_) if inner.drop_oldest().is_ok_and(|dropped| dropped) => inner.append(batch, frame),
            result => result,
        };
        // What cannot be removed now is removed with the next one.
        let _ = inner.make_room();
        if result.is_err() {
            inner.figures.unwritten += u64::from(batch.lines);
            inner.figures.dropped += u64::from(batch.lines);
            inner.ledger.drop_lines(batch.key, batch.lines.into());
            inner.positions.insert(batch.key.to_owned(), batch.position);
        }
        drop(inner);
        self.ready.notify_one();
        result
    }

    /// How far a source was taken.
    pub fn position(&self, key: &str) -> Option<Position> {
        self.inner().positions.get(key).copied()
    }

    /// Keys of all sources that have a position.
    pub fn keys(&self) -> Vec<String> {
        self.inner().positions.keys().cloned().collect()
    }

    /// A source is gone for good.
    pub fn forget(&self, key: &str) {
        self.inner().positions.remove(key);
    }

    /// What it has done and holds.
    pub fn figures(&self) -> Figures {
        self.inner().figures
    }

    /// Whether the destination lacks something.
    pub fn has_work(&self) -> bool {
        let inner = self.inner();
        let segment = inner.cursor.mark.segment;
        let behind = inner.segments.iter().filter(|it| it.number >= segment);
        // Not lines: a frame may hold a notice alone.
        behind.map(|it| it.frames).sum::<u64>() > inner.acked_frames || !inner.ledger.notices.is_empty()
    }

    /// Waits until there may be something to send.
    pub async fn wait(&self) {
        self.ready.notified().await;
    }
}

impl Inner {
    fn append(&mut self, batch: &Batch<'_>, frame: &[u8]) -> io::Result<()> {
        let is_full = self.last().bytes + frame.len() as u64 > self.segment_bytes;
        if is_full && self.last().frames > 0 {
            self.next_segment()?;
        }
        let before = self.last().bytes;
        if let Err(error) = self.file.write_all(frame) {
            // Half a frame would hide all that come after it.
            self.file.set_len(before)?;
            return Err(error);
        }
        let lines = u64::from(batch.lines);
        self.last().take(batch.key, lines, frame.len() as u64);
        match self.positions.get_mut(batch.key) {
            Some(position) => *position = batch.position,
            None => drop(self.positions.insert(batch.key.to_owned(), batch.position)),
        }
        self.figures.waiting += lines;
        self.figures.bytes += frame.len() as u64;
        Ok(())
    }

    fn last(&mut self) -> &mut Segment {
        self.segments.back_mut().expect("there is always the segment that grows")
    }

    fn next_segment(&mut self) -> io::Result<()> {
        let number = self.last().number + 1;
        let head = frame::head(&self.positions);
        self.file = segment::create(&self.dir, number, &head)?;
        self.segments.push_back(Segment::new(number, head.len() as u64));
        self.figures.bytes += head.len() as u64;
        Ok(())
    }

    fn make_room(&mut self) -> io::Result<()> {
        while self.figures.bytes > self.limit && self.drop_oldest()? {}
        Ok(())
    }

    /// Gives up the oldest segment that is not under way; false when there is none.
    fn drop_oldest(&mut self) -> io::Result<bool> {
        let newest = self.last().number;
        let is_free = |segment: &Segment| {
            segment.number != newest && self.under_way.is_none_or(|number| segment.number > number)
        };
        let Some(place) = self.segments.iter().position(is_free) else { return Ok(false) };
        let Some(mut segment) = self.segments.remove(place) else { return Ok(false) };
        if segment.number == self.cursor.mark.segment {
            self.acked_frames = 0;
            for (key, lines) in std::mem::take(&mut self.acked) {
                segment.forgive(&key, lines);
            }
        }
        // Written down first: after a crash between the two the segment is removed, and not counted again.
        let lines = segment.lines.values().sum::<u64>();
        self.figures.dropped += lines;
        self.figures.waiting = self.figures.waiting.saturating_sub(lines);
        self.figures.bytes -= segment.bytes;
        self.ledger.drop_segment(&segment);
        let saved = self.ledger.save(&self.dir);
        segment::remove(&self.dir, segment.number)?;
        if saved.is_err() {
            // The disk was full, and has room now.
            self.ledger.save(&self.dir)?;
        }
        self.ledger.removed.remove(&segment.number);
        Ok(true)
    }

    /// Removes segments that the destination has.
    fn release(&mut self) -> io::Result<()> {
        let mark = self.cursor.mark;
        while self.segments.len() > 1 && self.segments[0].number < mark.segment
            || self.segments.len() > 1
                && self.segments[0].number == mark.segment
                && self.segments[0].bytes == mark.offset
        {
            if let Some(segment) = self.segments.pop_front() {
                self.figures.bytes -= segment.bytes;
                segment::remove(&self.dir, segment.number)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
