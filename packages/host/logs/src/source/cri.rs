//! Entries of a container's log as CRI defines them: `TIME STREAM TAGS TEXT`, where the first tag is `F` for a whole line and
//! `P` for a part of one. Pure.

use crate::clock;
use crate::record::{Record, Stream};

/// Reads an entry without its line feed. What is none is passed on as it is: nothing that was written is lost.
pub fn parse(line: &[u8], now_ns: u64) -> Record<'_> {
    entry(line).unwrap_or(Record { time_ns: now_ns, stream: Stream::Stdout, is_part: false, text: line })
}

fn entry(line: &[u8]) -> Option<Record<'_>> {
    let (time, rest) = word(line)?;
    let (stream, rest) = word(rest)?;
    // The text may be empty, and the blank before it be missing then.
    let (tags, text) = word(rest).unwrap_or((rest, b""));
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let is_part = match tags.split(|byte| *byte == b':').next()? {
        b"F" => false,
        b"P" => true,
        _ => return None,
    };
    Some(Record { time_ns: clock::parse_rfc3339(time)?, stream, is_part, text })
}

fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b' ', text)?;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries() {
        let parsed = |line: &'static str| {
            let record = parse(line.as_bytes(), 9);
            (record.time_ns, record.stream, record.is_part, std::str::from_utf8(record.text).unwrap())
        };
        for (line, expected) in [
            ("1970-01-01T00:00:00.000000001Z stdout F a b", (1, Stream::Stdout, false, "a b")),
            ("1970-01-01T00:00:00.5+00:00 stderr P  a", (500_000_000, Stream::Stderr, true, " a")),
            ("1970-01-01T00:00:01Z stdout F ", (1_000_000_000, Stream::Stdout, false, "")),
            ("1970-01-01T00:00:01Z stdout F", (1_000_000_000, Stream::Stdout, false, "")),
            ("1970-01-01T00:00:01Z stdout P:x:y a", (1_000_000_000, Stream::Stdout, true, "a")),
            ("1970-01-01T00:00:01Z stdin F a", (9, Stream::Stdout, false, "1970-01-01T00:00:01Z stdin F a")),
            (
                "1970-01-01T00:00:01Z stdout X a",
                (9, Stream::Stdout, false, "1970-01-01T00:00:01Z stdout X a"),
            ),
            ("yesterday stdout F a", (9, Stream::Stdout, false, "yesterday stdout F a")),
            ("", (9, Stream::Stdout, false, "")),
        ] {
            assert_eq!(parsed(line), expected, "{line}");
        }
    }
}
