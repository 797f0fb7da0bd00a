//! What a service prints: lines in a ring of bounded size, and a count of those that came too fast.
//!
//! Pure. Nothing here makes a service wait: a line that is too many is dropped and counted.

use std::collections::VecDeque;
use std::time::Duration;

use lepton_control::LogLine;

use crate::clock::millis;

/// Bytes that one ring keeps.
pub const RING_BYTES: usize = 256 * 1024;
/// What a record costs besides its text.
const RECORD_BYTES: usize = 48;
/// Longest line in bytes; the rest of a longer one is its own line.
pub const MAX_LINE: usize = 4096;
/// Lines that a service may print at once, and in each second after that.
const BURST: u64 = 2000;
const PER_SECOND: u64 = 1000;

/// The newest lines of one log.
#[derive(Debug)]
pub struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    limit: usize,
    /// Number of the oldest line that is kept, counted from the first that ever came.
    first: u64,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new(RING_BYTES)
    }
}

impl Ring {
    /// A ring of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { lines: VecDeque::new(), bytes: 0, limit, first: 0 }
    }

    /// Adds a line and gives it its number; the oldest go.
    pub fn push(&mut self, mut line: LogLine) {
        line.number = self.end();
        self.bytes += line.text.len() + RECORD_BYTES;
        self.lines.push_back(line);
        while self.bytes > self.limit && self.lines.len() > 1 {
            if let Some(old) = self.lines.pop_front() {
                self.bytes -= old.text.len() + RECORD_BYTES;
                self.first += 1;
            }
        }
    }

    /// Number that the next line will have.
    pub fn end(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    /// Number of the oldest line that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Number of the first line for a reader who wants those from `from` on, and the `newest` of these.
    pub fn begin(&self, from: Option<u64>, newest: Option<u32>) -> u64 {
        let from = from.filter(|from| *from <= self.end()).unwrap_or(self.first);
        let newest = newest.map_or(0, |newest| self.end().saturating_sub(newest.into()));
        from.max(newest)
    }

    /// The line of this number.
    pub fn get(&self, number: u64) -> Option<&LogLine> {
        self.lines.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }
}

/// Makes lines of bytes, and drops those that come too fast.
#[derive(Debug)]
pub struct Intake {
    partial: Vec<u8>,
    credit: u64,
    credit_at: Duration,
    /// Lines dropped since the last line that was kept.
    silent: u64,
    /// Lines dropped ever.
    pub dropped: u64,
}

impl Default for Intake {
    fn default() -> Self {
        Self { partial: Vec::new(), credit: BURST, credit_at: Duration::ZERO, silent: 0, dropped: 0 }
    }
}

impl Intake {
    /// Takes bytes that came now; gives each line that is kept to `keep`.
    pub fn take(&mut self, mut bytes: &[u8], now: Duration, mut keep: impl FnMut(LogLine)) {
        self.earn(now);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line(&bytes[..end], now, &mut keep);
            bytes = &bytes[end + 1..];
        }
        while self.partial.len() + bytes.len() > MAX_LINE {
            let (part, rest) = bytes.split_at(MAX_LINE - self.partial.len());
            self.line(part, now, &mut keep);
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
    }

    /// Ends the last line, which may lack its line feed, and says how many were dropped last.
    pub fn finish(&mut self, now: Duration, mut keep: impl FnMut(LogLine)) {
        if !self.partial.is_empty() {
            self.line(&[], now, &mut keep);
        }
        self.own_up(now, &mut keep);
    }

    /// Says that lines were dropped once it is over.
    pub fn own_up(&mut self, now: Duration, keep: &mut impl FnMut(LogLine)) {
        if self.silent > 0 {
            let text = format!("lepton: {} lines dropped", self.silent);
            self.silent = 0;
            keep(LogLine::new(millis(now), text));
        }
    }

    /// Whether lines were dropped and nobody was told.
    pub fn is_silent(&self) -> bool {
        self.silent > 0
    }

    fn earn(&mut self, now: Duration) {
        let earned = millis(now.saturating_sub(self.credit_at)) * PER_SECOND / 1000;
        if earned > 0 {
            self.credit = (self.credit + earned).min(BURST);
            self.credit_at = now;
        }
    }

    fn line(&mut self, end: &[u8], now: Duration, keep: &mut impl FnMut(LogLine)) {
        if self.credit == 0 {
            self.partial.clear();
            self.silent += 1;
            self.dropped += 1;
            return;
        }
        self.own_up(now, keep);
        self.credit -= 1;
        let mut rest = end;
        // A line in one piece, as nearly all are, is not copied.
        while self.partial.len() + rest.len() > MAX_LINE {
            let (part, after) = rest.split_at(MAX_LINE - self.partial.len().min(MAX_LINE));
            self.partial.extend_from_slice(part);
            keep(LogLine::new(millis(now), text_of(&self.partial)));
            self.partial.clear();
            rest = after;
        }
        let text = if self.partial.is_empty() {
            text_of(rest)
        } else {
            self.partial.extend_from_slice(rest);
            text_of(&self.partial)
        };
        self.partial.clear();
        keep(LogLine::new(millis(now), text));
    }
}

/// Text without control characters: a log must not command the terminal that shows it.
fn text_of(bytes: &[u8]) -> String {
    let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
    let plain = |c: char| if c.is_control() && c != '\t' { '\u{fffd}' } else { c };
    String::from_utf8_lossy(bytes).chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(intake: &mut Intake, parts: &[&[u8]], now: Duration) -> Vec<String> {
        let mut texts = Vec::new();
        for part in parts {
            intake.take(part, now, |line| texts.push(line.text));
        }
        texts
    }

    #[test]
    fn lines_from_pieces() {
        let mut intake = Intake::default();
        assert_eq!(
            texts(&mut intake, &[b"a", b"b\nc\r\n\n\x1bd", b"\n\xff"], Duration::ZERO),
            ["ab", "c", "", "\u{fffd}d"]
        );
        let mut rest = Vec::new();
        intake.finish(Duration::ZERO, |line| rest.push(line.text));
        assert_eq!(rest, ["\u{fffd}"]);
        let long = texts(&mut intake, &[&vec![b'x'; 3 * MAX_LINE - 1], b"y\nz\n"], Duration::ZERO);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, MAX_LINE, 1]);
        let long =
            texts(&mut intake, &[b"1", &[vec![b'x'; 2 * MAX_LINE], b"\n".to_vec()].concat()], Duration::ZERO);
        assert_eq!(long.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, MAX_LINE, 1]);
    }

    #[test]
    fn a_flood_is_dropped_counted_and_told() {
        let mut intake = Intake::default();
        let flood = b"line\n".repeat(10_000);
        assert_eq!(texts(&mut intake, &[&flood], Duration::ZERO).len(), 2000);
        assert_eq!(intake.dropped, 8000);
        let later = texts(&mut intake, &[b"later\n"], Duration::from_secs(1));
        assert_eq!(later, ["lepton: 8000 lines dropped", "later"]);
        assert!(!intake.is_silent());
    }

    #[test]
    fn a_ring_keeps_the_newest() {
        let mut ring = Ring::new(3 * (RECORD_BYTES + 1));
        for ms in 0..10 {
            ring.push(LogLine::new(ms, "x"));
        }
        assert_eq!((ring.first(), ring.end()), (7, 10));
        assert_eq!(ring.get(6), None);
        assert_eq!(ring.get(7).map(|line| (line.number, line.ms)), Some((7, 7)));
        assert_eq!(ring.get(10), None);
        ring.push(LogLine::new(10, "y".repeat(1000)));
        assert_eq!((ring.first(), ring.end()), (10, 11));
        assert_eq!(ring.get(10).map(|line| line.number), Some(10));
    }

    #[test]
    fn readers_begin_where_they_want() {
        let mut ring = Ring::new(3 * (RECORD_BYTES + 1));
        (0..10).for_each(|ms| ring.push(LogLine::new(ms, "x")));
        // Of the lines 7, 8 and 9.
        for (from, newest, begins) in [
            (None, None, 7),
            (None, Some(1), 9),
            (None, Some(5), 7),
            (Some(8), None, 8),
            (Some(8), Some(1), 9),
            // Nothing yet, and what is to come.
            (Some(10), None, 10),
            // Lines are gone, which the reader is told.
            (Some(5), None, 5),
            (Some(5), Some(2), 8),
            // Of another start of the host.
            (Some(11), None, 7),
        ] {
            assert_eq!(ring.begin(from, newest), begins, "{from:?} {newest:?}");
        }
    }
}
