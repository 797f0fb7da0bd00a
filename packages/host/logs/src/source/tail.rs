//! Reads one log: lines become frames, each with the place behind it, and go to every destination that has not had them.
//!
//! A file that was moved aside is read to its end before the next one. One that was cut goes on in its copy, where there is one.
//! When the log is far ahead its lines are counted and left out: whoever writes it is never kept waiting, and what was removed
//! stays on the disk no longer than it takes to count it.

mod place;
mod unpacked;

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::discover::Format;
use super::files::{self, Opened, Which};
use super::head::Head;
use super::limit::Limit;
use super::log::Log;
use super::{cri, lines};
use crate::clock;
use crate::frame::{Batch, Position};
use crate::record::{Record, Records, Stream};
use place::{find, is_far_ahead};
use unpacked::Unpacked;

/// Bytes that are read at once.
pub const CHUNK: usize = 256 << 10;
/// Lines of a frame: what is made of one for a destination is many times as large, when lines are short.
const LINES: usize = 8192;
/// A log that is so far ahead of its reader is counted instead of sent.
const AHEAD: u64 = 256 << 20;
/// After the last look at a log whose files were removed.
const LINGER: Duration = Duration::from_secs(2);

/// What reading for a while came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// There may be more at once.
    More,
    /// Not before something changes.
    Idle,
    /// The log was removed, and all of it is read.
    Over,
}

/// Who takes what is read.
pub trait Sink {
    /// Lines for these destinations.
    fn take(&mut self, batch: &Batch<'_>, destinations: &[usize]);
}

/// What all logs are read with.
#[derive(Debug)]
pub struct Bench {
    chunk: Vec<u8>,
    records: Vec<u8>,
    /// `boot_id` of this boot.
    pub boot: String,
    /// Lines of a source in a second; 0 for all.
    pub per_second: u32,
    /// Bytes that a log may be ahead.
    ahead: u64,
}

impl Bench {
    /// For this boot, and this limit.
    pub fn new(boot: String, per_second: u32) -> Self {
        Self { chunk: vec![0; CHUNK], records: Vec::new(), boot, per_second, ahead: AHEAD }
    }
}

/// A destination that had more of the log before the restart than others.
#[derive(Clone, Copy, Debug)]
struct Ahead {
    destination: usize,
    inode: u64,
    offset: u64,
}

/// A log that is read.
#[derive(Debug)]
pub struct Tail {
    log: Arc<Log>,
    key: String,
    inode: u64,
    offset: u64,
    head: Head,
    unpacked: Option<Unpacked>,
    takers: Vec<usize>,
    ahead: Vec<Ahead>,
    limit: Limit,
    unsaid: u64,
    is_this_boot: bool,
    /// Only these lines of the log are lines of the source.
    only: Option<&'static [u8]>,
    quiet_since: Option<Instant>,
}

impl Tail {
    /// Goes on where each destination is: `positions` has a place for each that wants the log.
    pub fn new(
        log: Arc<Log>,
        positions: &[(usize, Option<Position>)],
        only: Option<&'static [u8]>,
        bench: &Bench,
        now: Instant,
    ) -> Self {
        let files = log.queue();
        let place = |position: &Position| find(&files, position).map(|at| (at, position.offset));
        let places: Vec<_> = positions
            .iter()
            .map(|(destination, position)| {
                let found = position.as_ref().and_then(place);
                // What was not found was removed, and all that is there is newer.
                (*destination, found.unwrap_or((0, 0)))
            })
            .collect();
        let (first, offset) = places.iter().map(|(_, place)| *place).min().unwrap_or_default();
        let inode_of = |at: usize| files.get(at).map_or(0, |file| file.inode);
        let mut tail = Self {
            key: log.found.source.key(),
            inode: inode_of(first),
            offset,
            head: Head::default(),
            unpacked: None,
            takers: Vec::new(),
            ahead: Vec::new(),
            limit: Limit::new(bench.per_second, now),
            unsaid: positions.iter().filter_map(|(_, it)| it.map(|it| it.unsaid)).max().unwrap_or_default(),
            is_this_boot: false,
            only,
            quiet_since: None,
            log,
        };
        for (destination, place) in places {
            if place == (first, offset) {
                tail.takers.push(destination);
            } else {
                tail.ahead.push(Ahead { destination, inode: inode_of(place.0), offset: place.1 });
            }
        }
        if let Some(file) = files.get(first) {
            tail.log.begin_with(file.inode);
            // Errors come again, and are told, when the file is read.
            let _ = tail.look_back(file, bench);
        }
        tail
    }

    /// Its source's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The beginning of a file that is read on: what it is known by, and the boot that its lines are of.
    fn look_back(&mut self, file: &Arc<Opened>, bench: &Bench) -> io::Result<()> {
        if self.offset == 0 {
            return Ok(());
        }
        let len = usize::try_from(self.offset).unwrap_or(usize::MAX).min(CHUNK * 4);
        let mut bytes = vec![0; len];
        if file.is_compressed {
            let mut unpacked = Unpacked::new(file);
            unpacked.begin(&mut bytes, self.offset)?;
            self.unpacked = Some(unpacked);
        } else {
            file.file.read_exact_at(&mut bytes, 0)?;
        }
        self.head.take(0, &bytes);
        self.is_this_boot = lines::last_boot(&bytes) == Some(bench.boot.as_bytes());
        Ok(())
    }

    /// Reads one piece.
    pub fn turn(&mut self, bench: &mut Bench, sink: &mut impl Sink, now: Instant) -> io::Result<Turn> {
        let files = self.log.queue();
        let Some(file) = files.first() else { return Ok(self.quiet(now)) };
        if file.inode != self.inode {
            self.begin(file.inode, 0);
        }
        // Before the read: nothing is written to a file once there is another one.
        let has_next = files.len() > 1;
        if !file.is_compressed {
            self.check_for_a_cut(file, bench, sink, now)?;
        }
        let mut chunk = std::mem::take(&mut bench.chunk);
        let read = self.read(file, &mut chunk);
        let result = read.map(|count| {
            let is_far_ahead = is_far_ahead(&files, self.offset, bench.ahead);
            let used = self.consume(&chunk[..count], has_next, is_far_ahead, bench, sink, now);
            if let Some(unpacked) = &mut self.unpacked {
                unpacked.give_back(&chunk[used..count]);
            }
            (count, used)
        });
        bench.chunk = chunk;
        let (count, used) = result?;
        if used == 0 && count == 0 && has_next {
            let inode = file.inode;
            self.log.next_file();
            self.reach(inode, u64::MAX);
            self.begin(0, 0);
            return Ok(Turn::More);
        }
        if used > 0 {
            self.quiet_since = None;
            return Ok(Turn::More);
        }
        self.notice(bench, sink, now);
        Ok(if has_next { Turn::More } else { self.quiet(now) })
    }

    fn quiet(&mut self, now: Instant) -> Turn {
        let since = *self.quiet_since.get_or_insert(now);
        let is_over = self.log.is_gone() && now.saturating_duration_since(since) >= LINGER;
        if is_over { Turn::Over } else { Turn::Idle }
    }

    fn begin(&mut self, inode: u64, offset: u64) {
        self.inode = inode;
        self.offset = offset;
        self.head = Head::default();
        self.unpacked = None;
        self.is_this_boot = false;
    }

    /// Reads behind what was read, but not beyond where a destination is already.
    fn read(&mut self, file: &Arc<Opened>, chunk: &mut [u8]) -> io::Result<usize> {
        let ahead = self.ahead.iter().filter(|it| it.inode == self.inode && it.offset > self.offset);
        let limit = ahead.map(|it| it.offset - self.offset).min().unwrap_or(u64::MAX);
        let len = chunk.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let chunk = &mut chunk[..len];
        if !file.is_compressed {
            return file.file.read_at(chunk, self.offset);
        }
        Ok(self.unpacked.get_or_insert_with(|| Unpacked::new(file)).read(chunk))
    }

    /// Makes a frame of the whole lines of a piece; gives how many bytes they have.
    fn consume(
        &mut self,
        piece: &[u8],
        is_last: bool,
        is_far_ahead: bool,
        bench: &mut Bench,
        sink: &mut impl Sink,
        now: Instant,
    ) -> usize {
        let is_full = piece.len() == CHUNK || self.is_cut_short(piece.len());
        let mut end = match memchr::memrchr(b'\n', piece) {
            Some(end) => end + 1,
            // A line that does not end: it is too long, or whoever wrote it was cut off.
            None if is_full || is_last => piece.len(),
            None => 0,
        };
        if end == 0 {
            return 0;
        }
        bench.records.clear();
        self.limit.earn(now);
        let mut frame = Counts::default();
        if is_far_ahead {
            frame.left_out = memchr::memchr_iter(b'\n', &piece[..end]).count();
        } else {
            if self.unsaid > 0 && self.limit.may_say(now) {
                missing(std::mem::take(&mut self.unsaid), &mut bench.records);
            }
            end = self.records(&piece[..end], bench, &mut frame);
        }
        self.head.take(self.offset, &piece[..end]);
        self.offset += end as u64;
        self.unsaid += frame.left_out as u64;
        self.emit(frame, &bench.records, sink);
        end
    }

    /// Whether a piece was read only so far because a destination is there already: it is whole lines then.
    fn is_cut_short(&self, len: usize) -> bool {
        self.ahead.iter().any(|it| it.inode == self.inode && it.offset == self.offset + len as u64)
    }

    /// Makes records of a piece; gives how many of its bytes they are of.
    fn records(&mut self, piece: &[u8], bench: &mut Bench, frame: &mut Counts) -> usize {
        let (now_ns, boot_ns) = (clock::now_ns(), clock::boot_ns());
        let mut rest = piece;
        for _ in 0..LINES {
            if rest.is_empty() {
                break;
            }
            let (line, next) = match memchr::memchr(b'\n', rest) {
                Some(end) => (&rest[..end], end + 1),
                None => (rest, rest.len()),
            };
            let is_torn = next == line.len();
            rest = &rest[next..];
            let mut record = match self.log.found.format {
                Format::Cri => cri::parse(line, now_ns),
                Format::Lines => match lines::parse(line, self.is_this_boot.then_some(boot_ns), now_ns) {
                    lines::Line::Text(record) => record,
                    lines::Line::Boot(boot) => {
                        self.is_this_boot = boot == bench.boot.as_bytes();
                        continue;
                    }
                    lines::Line::Lost(count) => {
                        frame.left_out += count as usize;
                        continue;
                    }
                    lines::Line::Note => continue,
                },
            };
            if self.only.is_some_and(|only| !record.text.starts_with(only)) {
                continue;
            }
            record.is_part |= is_torn;
            if self.limit.pass() {
                record.encode(&mut bench.records);
                frame.lines += 1;
            } else {
                frame.left_out += 1;
            }
        }
        piece.len() - rest.len()
    }

    /// Says how many lines were left out, where nothing else comes.
    fn notice(&mut self, bench: &mut Bench, sink: &mut impl Sink, now: Instant) {
        if self.unsaid > 0 && self.limit.may_say(now) {
            bench.records.clear();
            missing(std::mem::take(&mut self.unsaid), &mut bench.records);
            self.emit(Counts::default(), &bench.records, sink);
        }
    }

    fn emit(&mut self, counts: Counts, records: &[u8], sink: &mut impl Sink) {
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let position = Position {
            file: self.inode,
            offset: self.offset,
            head_len: count(self.head.len()),
            head_crc: self.head.crc(),
            unsaid: self.unsaid,
        };
        let batch = Batch {
            key: &self.key,
            position,
            left_out: count(counts.left_out),
            lines: count(counts.lines),
            records: Records(records),
        };
        sink.take(&batch, &self.takers);
        self.reach(self.inode, self.offset);
    }

    /// Destinations that were ahead take part from here on.
    fn reach(&mut self, inode: u64, offset: u64) {
        let takers = &mut self.takers;
        self.ahead.retain(|it| {
            let is_reached = it.inode == inode && it.offset <= offset;
            if is_reached {
                takers.push(it.destination);
            }
            !is_reached
        });
    }

    /// A file that is shorter than what was read of it, or begins in another way, was cut after it was copied: the rest of what
    /// it held is in the copy.
    fn check_for_a_cut(
        &mut self,
        file: &Arc<Opened>,
        bench: &mut Bench,
        sink: &mut impl Sink,
        now: Instant,
    ) -> io::Result<()> {
        let size = file.size()?;
        let len = u32::try_from(self.head.len()).unwrap_or_default();
        if size >= self.offset && file.head_crc(len) == Some(self.head.crc()) {
            return Ok(());
        }
        let copies = files::open(&self.log.found.path, Which::Plain)?;
        let copy = copies.iter().find(|copy| {
            let holds = copy.size().is_ok_and(|size| size >= self.offset);
            copy.inode != file.inode && holds && copy.head_crc(len) == Some(self.head.crc())
        });
        if let Some(copy) = copy {
            let mut chunk = vec![0; CHUNK];
            loop {
                let count = copy.file.read_at(&mut chunk, self.offset)?;
                if count == 0 || self.consume(&chunk[..count], true, false, bench, sink, now) == 0 {
                    break;
                }
            }
        }
        self.reach(self.inode, u64::MAX);
        self.begin(file.inode, 0);
        Ok(())
    }
}

/// Adds the record that says that lines were left out.
pub fn missing(lines: u64, records: &mut Vec<u8>) {
    let text = format!("lepton: {lines} lines are missing here: too many came at once");
    let time_ns = clock::now_ns();
    Record { time_ns, stream: Stream::Lepton, is_part: false, text: text.as_bytes() }.encode(records);
}

/// Lines of a frame.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    lines: usize,
    left_out: usize,
}

#[cfg(test)]
mod tests;
