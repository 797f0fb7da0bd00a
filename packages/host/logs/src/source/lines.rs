//! Lines of the files that PID 1 keeps (docs/services.md): `2026-11-24T13:41:33.123Z 12.345 text`, and lines about the file
//! that begin with `===`. Pure.

use crate::clock;
use crate::record::{Record, Stream};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line of the log.
    Text(Record<'a>),
    /// The lines after it are of that boot.
    Boot(&'a [u8]),
    /// Lines that the disk did not take: they are missing here.
    Lost(u32),
    /// Nothing that a service wrote.
    Note,
}

/// Reads a line without its line feed. `boot_ns` is the time of this boot's start, when the line is of this boot: the clock may
/// have been wrong when it was written, and seconds since the start never are.
pub fn parse(line: &[u8], boot_ns: Option<u64>, now_ns: u64) -> Line<'_> {
    if let Some(note) = line.strip_prefix(b"=== ") {
        if let Some(boot) = note.strip_prefix(b"boot ") {
            return Line::Boot(boot);
        }
        return lost(note).map_or(Line::Note, Line::Lost);
    }
    let record = |time_ns, text| Line::Text(Record { time_ns, stream: Stream::Log, is_part: false, text });
    let Some((date, since, text)) = parts(line) else { return record(now_ns, line) };
    match (boot_ns, since_start_ns(since), clock::parse_rfc3339(date)) {
        (Some(boot), Some(since), _) => record(boot.saturating_add(since), text),
        (None, Some(_), Some(time)) => record(time, text),
        _ => record(now_ns, line),
    }
}

fn parts(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let first = memchr::memchr(b' ', line)?;
    let second = first + 1 + memchr::memchr(b' ', &line[first + 1..])?;
    Some((&line[..first], &line[first + 1..second], &line[second + 1..]))
}

fn lost(note: &[u8]) -> Option<u32> {
    std::str::from_utf8(note).ok()?.strip_suffix(" lines could not be written")?.parse().ok()
}

/// Nanoseconds of `12.345`.
fn since_start_ns(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let (seconds, millis) = text.split_once('.')?;
    if millis.len() != 3 {
        return None;
    }
    let millis = seconds.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
    millis.checked_mul(1_000_000)
}

/// The boot that lines behind a piece of a file are of; none when the piece does not say.
pub fn last_boot(piece: &[u8]) -> Option<&[u8]> {
    piece.split(|byte| *byte == b'\n').rev().find_map(|line| line.strip_prefix(b"=== boot "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_pid_1() {
        let text = |time_ns, text: &'static str| {
            Line::Text(Record { time_ns, stream: Stream::Log, is_part: false, text: text.as_bytes() })
        };
        for (line, boot, expected) in [
            ("1970-01-01T00:00:02.001Z 2.001 a b", None, text(2_001_000_000, "a b")),
            ("1970-01-01T00:00:02.001Z 2.001 a b", Some(10), text(2_001_000_010, "a b")),
            ("1970-01-01T00:00:02.001Z 2.001 ", None, text(2_001_000_000, "")),
            ("=== boot x-y", None, Line::Boot(b"x-y")),
            ("=== 12 lines could not be written", None, Line::Lost(12)),
            ("=== other", None, Line::Note),
            ("half", Some(10), text(7, "half")),
            ("a 1.00 b", None, text(7, "a 1.00 b")),
        ] {
            assert_eq!(parse(line.as_bytes(), boot, 7), expected, "{line}");
        }
        assert_eq!(last_boot(b"=== boot a\nx\n=== boot b\ny\n"), Some(&b"b"[..]));
        assert_eq!(last_boot(b"x\n"), None);
    }
}
