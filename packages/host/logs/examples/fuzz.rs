//! Gives the shipper bytes that nobody would write: `fuzz lines|segments|answers SECONDS [NUMBER]`. The seeds are good lines,
//! segments and answers; each run changes some of their bytes, cuts them, or repeats parts. A number printed with a failure
//! repeats the run.

use std::collections::BTreeMap;
use std::io::{Error, Result, Write as _};
use std::time::{Duration, Instant};

use lepton_logs::frame::{self, Batch, Position};
use lepton_logs::fuzz;
use lepton_logs::record::{Record, Records, Stream};

const USAGE: &str = "usage: fuzz lines|segments|answers SECONDS [NUMBER]";

const LINES: [&[u8]; 7] = [
    b"2026-11-30T10:00:00.123456789Z stdout F text of a line",
    b"2026-11-30T10:00:00.1+01:00 stderr P:x part \xff\xc3\xa9 \"quoted\" \\",
    b"1970-01-01T00:00:00Z stdout F",
    b"2026-11-30T10:00:00.123Z 12.345 text",
    b"=== boot 3f1f2b8e-3c52-4d6f-9b8e-0b8f5a0b7c11",
    b"=== 17 lines could not be written",
    b"\xef\xbb\xbf18446744073709551615.999 x",
];

const ANSWERS: [&[u8]; 6] = [
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n\x0a\x06\x08\x05\x12\x02no",
    b"HTTP/1.1 503 Unavailable\r\nRetry-After: 12\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 429 Slow\r\nRetry-After: 99999999999999999999\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad\r\nConnection: close\r\n\r\nno",
    b"HTTP/1.0 204 None\r\n\r\n",
];

/// A small generator that a number repeats (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).expect("it is below a usize")
    }

    /// Changes bytes in a few places.
    fn change(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(5) {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let end = (at + self.below(32)).min(bytes.len());
            match self.below(6) {
                0 => bytes[at] ^= 1 << self.below(8),
                1 => bytes[at] = [0, 1, b'\n', 0x80, 0xff][self.below(5)],
                2 => bytes.truncate(at + 1),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let part = bytes[at..end].to_vec();
                    bytes.splice(at..at, part);
                }
                _ => bytes.insert(at, self.next().to_le_bytes()[0]),
            }
        }
        bytes
    }
}

/// Tells which run failed.
struct Shown(u64);

impl Drop for Shown {
    fn drop(&mut self) {
        let _ = writeln!(std::io::stderr(), "the failing run is number {}", self.0);
    }
}

fn segment(random: &mut Random) -> Vec<u8> {
    let mut records = Vec::new();
    for text in LINES {
        Record { time_ns: random.next(), stream: Stream::Stderr, is_part: false, text }.encode(&mut records);
    }
    let position = Position { file: 1, offset: 2, head_len: 3, head_crc: 4, unsaid: 5 };
    let positions = BTreeMap::from([("services/web".to_owned(), position), ("kernel".to_owned(), position)]);
    let mut bytes = frame::head(&positions);
    for key in ["services/web", "pods/shop/web-1/c7e4/app/0"] {
        let batch = Batch { key, position, left_out: 1, lines: 7, records: Records(&records) };
        bytes.extend(batch.encode());
    }
    bytes
}

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (Some(target), Some(seconds)) = (arguments.first(), number(1)) else {
        return Err(Error::other(USAGE));
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // A buffer of its own for each process; on Linux this is in memory.
    let folder = std::path::PathBuf::from(format!("/dev/shm/lepton-logs-fuzz-{}", std::process::id()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut seed, mut good) = (number(2).unwrap_or(1), 0);
    let first = seed;
    while Instant::now() < end {
        let shown = Shown(seed);
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        good += match &**target {
            "lines" => {
                let line = LINES[random.below(LINES.len())].to_vec();
                usize::from(fuzz::line(&random.change(line)))
            }
            "segments" => {
                let bytes = segment(&mut random);
                fuzz::segment(&folder, &random.change(bytes))?
            }
            "answers" => {
                let answer = ANSWERS[random.below(ANSWERS.len())].to_vec();
                usize::from(runtime.block_on(fuzz::answer(&random.change(answer))))
            }
            _ => return Err(Error::other(USAGE)),
        };
        std::mem::forget(shown);
        seed += 1;
    }
    writeln!(std::io::stdout(), "{target}: {} runs, {good} good inputs or lines, no failure", seed - first)
}
