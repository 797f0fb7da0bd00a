//! What a buffer's folder holds after a restart. A segment that a crash tore ends where its last whole frame does.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::frame::{self, Frame, Position};

use super::cursor::{CursorFile, Mark};
use super::ledger::Ledger;
use super::segment::{self, Segment};

pub(super) struct Recovered {
    pub(super) segments: VecDeque<Segment>,
    /// The last one, to be written on.
    pub(super) file: File,
    pub(super) positions: BTreeMap<String, Position>,
    pub(super) cursor: CursorFile,
    pub(super) acked: BTreeMap<String, u64>,
    pub(super) acked_frames: u64,
    pub(super) ledger: Ledger,
    /// Lines that the destination has not.
    pub(super) waiting: u64,
}

pub(super) fn recover(dir: &Path) -> io::Result<Recovered> {
    // Logs may hold secrets.
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut ledger = Ledger::read(dir);
    let mut cursor = CursorFile::open(dir)?;
    for number in std::mem::take(&mut ledger.removed) {
        segment::remove(dir, number)?;
    }
    let mut segments = VecDeque::new();
    let mut positions = BTreeMap::new();
    let (mut acked, mut acked_frames) = (BTreeMap::new(), 0);
    let mut is_torn = false;
    for number in segment::list(dir)? {
        if is_torn {
            // Only a power cut tears another one than the last. The positions in what came after it would hide what it lost:
            // that is read again, too.
            segment::remove(dir, number)?;
            continue;
        }
        let scan = scan(dir, number, cursor.mark)?;
        // Its positions count, also when all its lines are sent or it holds none.
        if let Some(found) = scan.positions {
            positions = found;
        }
        if number == cursor.mark.segment {
            (acked, acked_frames) = (scan.acked, scan.acked_frames);
        }
        is_torn = scan.is_torn;
        segments.push_back(scan.segment);
    }
    let mut is_over = |segment: &Segment| segment.number < cursor.mark.segment || segment.frames == 0;
    while segments.len() > 1 && segments.front().is_some_and(&mut is_over) {
        if let Some(segment) = segments.pop_front() {
            segment::remove(dir, segment.number)?;
        }
    }
    let file = match segments.back() {
        Some(last) if last.bytes > 0 && last.number >= cursor.mark.segment => {
            segment::open(dir, last.number)?
        }
        // Not even its head is whole, there is none, or a power cut took the one that the cursor is in.
        last => {
            let number = last.map_or(0, |last| last.number).max(cursor.mark.segment) + 1;
            if let Some(last) = segments.pop_back() {
                segment::remove(dir, last.number)?;
            }
            let head = frame::head(&positions);
            segments.push_back(Segment::new(number, head.len() as u64));
            segment::create(dir, number, &head)?
        }
    };
    // A power cut may have kept the cursor and lost what it points at: that is read again, and sent again.
    if let Some(of_cursor) = segments.iter().find(|segment| segment.number == cursor.mark.segment) {
        cursor.mark.offset = cursor.mark.offset.min(of_cursor.bytes);
    }
    let behind = segments.iter().filter(|segment| segment.number >= cursor.mark.segment);
    let lines: u64 = behind.flat_map(|segment| segment.lines.values()).sum();
    let waiting = lines.saturating_sub(acked.values().sum());
    Ok(Recovered { segments, file, positions, cursor, acked, acked_frames, ledger, waiting })
}

struct Scan {
    segment: Segment,
    positions: Option<BTreeMap<String, Position>>,
    /// Lines before the cursor.
    acked: BTreeMap<String, u64>,
    /// Frames before the cursor.
    acked_frames: u64,
    is_torn: bool,
}

/// Reads a segment, and cuts off what is torn.
fn scan(dir: &Path, number: u64, cursor: Mark) -> io::Result<Scan> {
    let path = segment::path(dir, number);
    let bytes = fs::read(&path)?;
    let mut input = bytes.as_slice();
    let segment = Segment::new(number, 0);
    let mut scan = Scan { segment, positions: None, acked: BTreeMap::new(), acked_frames: 0, is_torn: false };
    loop {
        let before = input.len();
        match frame::decode(&mut input) {
            Some(Frame::Head(positions)) => {
                scan.positions = Some(positions);
                scan.segment.bytes += (before - input.len()) as u64;
            }
            Some(Frame::Batch(batch)) => {
                let lines = u64::from(batch.lines);
                scan.segment.take(batch.key, lines, (before - input.len()) as u64);
                if number == cursor.segment && scan.segment.bytes <= cursor.offset {
                    scan.acked_frames += 1;
                    *scan.acked.entry(batch.key.to_owned()).or_default() += lines;
                }
                let positions = scan.positions.get_or_insert_default();
                positions.insert(batch.key.to_owned(), batch.position);
            }
            None => break,
        }
    }
    scan.is_torn = scan.segment.bytes < bytes.len() as u64 || bytes.is_empty();
    if scan.segment.bytes < bytes.len() as u64 {
        OpenOptions::new().write(true).open(&path)?.set_len(scan.segment.bytes)?;
    }
    Ok(scan)
}
