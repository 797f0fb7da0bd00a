//! Lines of a container's log in CRI's format, `TIME STREAM TAG TEXT`, and how they are shown. Pure but for the writing.

use std::io::{self, Write};

/// One entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When it was written.
    pub time: &'a [u8],
    /// Whether it is one of the error output.
    pub is_error: bool,
    /// Whether the line goes on in the stream's next entry.
    pub is_part: bool,
    /// What was written.
    pub text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads an entry without its line feed; nothing when it is none.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut fields = bytes.splitn(4, |byte| *byte == b' ');
        let time = fields.next()?;
        let is_error = match fields.next()? {
            b"stdout" => false,
            b"stderr" => true,
            _ => return None,
        };
        let is_part = match fields.next()? {
            b"F" => false,
            b"P" => true,
            _ => return None,
        };
        Some(Self { time, is_error, is_part, text: fields.next()? })
    }
}

/// Who takes the entries of a log that is followed.
pub trait Sink {
    /// Takes the whole entries of a piece of a log; gives how many bytes they have.
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

impl Sink for Printer {
    fn take(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.print(bytes)
    }
}

/// Writes entries to this program's own output and error output, as the container wrote them.
#[derive(Debug, Default)]
pub struct Printer {
    times: bool,
    /// Lines that began before are left out; as the log writes times, which sort as text.
    since: Vec<u8>,
    /// The line that is being written began before.
    is_before: [bool; 2],
    /// The last entry of the output, and of the error output, was a part.
    in_line: [bool; 2],
}

impl Printer {
    /// One that begins each line with its time, or not.
    pub fn new(times: bool) -> Self {
        Self { times, ..Self::default() }
    }

    /// Leaves out lines that began before a time, which is written as those of the log are.
    pub fn since(mut self, time: &str) -> Self {
        self.since = time.as_bytes().to_vec();
        self
    }

    /// Writes the whole entries of a piece of a log; gives how many bytes they have.
    pub fn print(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (mut output, mut errors) = (io::stdout().lock(), io::stderr().lock());
        self.print_to(bytes, &mut output, &mut errors)
    }

    fn print_to(
        &mut self,
        bytes: &[u8],
        output: &mut impl Write,
        errors: &mut impl Write,
    ) -> io::Result<usize> {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(0) };
        let mut texts = [Vec::new(), Vec::new()];
        for line in bytes[..end].split(|byte| *byte == b'\n').filter_map(Line::parse) {
            let side = usize::from(line.is_error);
            if !self.in_line[side] {
                self.is_before[side] = line.time < self.since.as_slice();
            }
            let is_first = !std::mem::replace(&mut self.in_line[side], line.is_part);
            if self.is_before[side] {
                continue;
            }
            let text = &mut texts[side];
            if self.times && is_first {
                text.extend_from_slice(line.time);
                text.push(b' ');
            }
            text.extend_from_slice(line.text);
            if !line.is_part {
                text.push(b'\n');
            }
        }
        output.write_all(&texts[0])?;
        output.flush()?;
        errors.write_all(&texts[1])?;
        Ok(end + 1)
    }
}

/// Where the last `lines` lines of a log begin; an entry at the end that is not complete is none of them.
pub fn tail(bytes: &[u8], lines: usize) -> usize {
    let mut left = lines;
    let mut start = bytes.len();
    let entries = bytes.split_inclusive(|byte| *byte == b'\n').rev();
    for entry in entries {
        let complete = entry.strip_suffix(b"\n");
        if complete.is_some_and(|entry| !Line::parse(entry).is_some_and(|line| line.is_part)) {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        start -= entry.len();
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &[u8] =
        b"T1 stdout F one\nT2 stdout P tw\nT3 stderr F bad\nT4 stdout F o\nnonsense\nT5 stdout F \nT6 std";

    #[test]
    fn lines_come_out_as_they_were_written() {
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let mut printer = Printer::default();
        let count = printer.print_to(LOG, &mut output, &mut errors).unwrap();
        assert_eq!(&LOG[count..], b"T6 std");
        assert_eq!((output.as_slice(), errors.as_slice()), (&b"one\ntwo\n\n"[..], &b"bad\n"[..]));
        let mut printer = Printer::new(true);
        output.clear();
        printer.print_to(LOG, &mut output, &mut errors).unwrap();
        assert_eq!(output, b"T1 one\nT2 two\nT5 \n");
        assert_eq!(printer.print_to(b"T7 std", &mut output, &mut errors).unwrap(), 0);
        // A line has the time of its first part.
        let mut printer = Printer::new(true).since("T3");
        output.clear();
        errors.clear();
        printer.print_to(LOG, &mut output, &mut errors).unwrap();
        assert_eq!((output.as_slice(), errors.as_slice()), (&b"T5 \n"[..], &b"T3 bad\n"[..]));
    }

    #[test]
    fn the_last_lines() {
        let log = b"T1 stdout F one\nT2 stdout P tw\nT3 stdout F o\nT4 stdout F three\n";
        assert_eq!(&log[tail(log, 1)..], b"T4 stdout F three\n");
        assert_eq!(&log[tail(log, 2)..], b"T2 stdout P tw\nT3 stdout F o\nT4 stdout F three\n");
        assert_eq!((tail(log, 3), tail(log, 9), tail(log, 0)), (0, 0, log.len()));
    }
}
