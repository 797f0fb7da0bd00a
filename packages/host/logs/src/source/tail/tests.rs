//! Files that grow, are renamed, copied and cut while they are followed.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::source::Source;
use crate::source::discover::Found;

/// What destinations were given, with the last position of each.
#[derive(Default)]
struct Taken {
    lines: Vec<Vec<String>>,
    positions: Vec<Option<Position>>,
    left_out: u64,
}

impl Taken {
    fn new(destinations: usize) -> Self {
        Self { lines: vec![Vec::new(); destinations], positions: vec![None; destinations], left_out: 0 }
    }
}

impl Sink for Taken {
    fn take(&mut self, batch: &Batch<'_>, destinations: &[usize]) {
        self.left_out += u64::from(batch.left_out);
        for at in destinations {
            self.positions[*at] = Some(batch.position);
            self.lines[*at].extend(batch.records.map(|it| String::from_utf8(it.text.to_vec()).unwrap()));
        }
    }
}

struct Host {
    dir: tempfile::TempDir,
    format: Format,
    per_second: u32,
}

impl Host {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), format: Format::Cri, per_second: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("0.log")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        self.dir.path().join(format!("0.log.{ending}"))
    }

    /// Adds lines with these numbers.
    fn write(&self, path: &Path, numbers: std::ops::Range<u32>) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        for number in numbers {
            writeln!(file, "2026-11-30T10:00:00.{number:09}Z stdout F line {number}").unwrap();
        }
    }

    fn log(&self) -> Arc<Log> {
        let source = Source::Container { name: "web".into() };
        Arc::new(Log::open(Found { source, path: self.path(), format: self.format }).unwrap())
    }

    fn bench(&self) -> Bench {
        Bench::new("this-boot".into(), self.per_second)
    }

    fn tail(&self, log: &Arc<Log>, positions: &[Option<Position>]) -> Tail {
        let positions: Vec<_> = positions.iter().copied().enumerate().collect();
        Tail::new(Arc::clone(log), &positions, None, &self.bench(), Instant::now())
    }
}

fn read(tail: &mut Tail, host: &Host, taken: &mut Taken) {
    read_at(tail, host, taken, Instant::now());
}

fn read_at(tail: &mut Tail, host: &Host, taken: &mut Taken, now: Instant) {
    while tail.turn(&mut host.bench(), taken, now).unwrap() == Turn::More {}
}

fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("line {number}")).collect()
}

#[test]
fn a_log_that_is_moved_aside_is_read_once_and_whole() {
    let host = Host::new();
    host.write(&host.path(), 0..3);
    let log = host.log();
    let (mut tail, mut taken) = (host.tail(&log, &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    // As kubelet does it, twice, with a look between; and a line that is written after the rename.
    for round in 1..20 {
        let aside = host.beside(&format!("20261130-1000{round:02}"));
        host.write(&host.path(), round * 10 - 7..round * 10);
        fs::rename(host.path(), &aside).unwrap();
        if round % 2 == 0 {
            log.refresh().unwrap();
            read(&mut tail, &host, &mut taken);
        }
        host.write(&aside, round * 10..round * 10 + 1);
        host.write(&host.path(), round * 10 + 1..round * 10 + 3);
        log.refresh().unwrap();
        if round % 3 == 0 {
            read(&mut tail, &host, &mut taken);
        }
    }
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(0..193));
}

#[test]
fn numbers_behind_the_name_grow_with_age() {
    let host = Host { format: Format::Lines, ..Host::new() };
    let write = |path: &Path, boot: &str, numbers: std::ops::Range<u32>| {
        let mut text = format!("=== boot {boot}\n");
        for number in numbers {
            text += &format!("2026-11-30T10:00:00.000Z 1.000 line {number}\n");
        }
        fs::write(path, text).unwrap();
    };
    write(&host.beside("2"), "before", 0..2);
    write(&host.beside("1"), "this-boot", 2..4);
    write(&host.path(), "this-boot", 4..6);
    let log = host.log();
    let (mut tail, mut taken) = (host.tail(&log, &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    for (from, to) in [("2", "3"), ("1", "2")] {
        fs::rename(host.beside(from), host.beside(to)).unwrap();
    }
    fs::rename(host.path(), host.beside("1")).unwrap();
    write(&host.path(), "this-boot", 6..8);
    log.refresh().unwrap();
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(0..8));
}

#[test]
fn a_log_that_is_copied_and_cut_goes_on_in_the_copy() {
    let host = Host::new();
    host.write(&host.path(), 0..5);
    let log = host.log();
    let (mut tail, mut taken) = (host.tail(&log, &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    host.write(&host.path(), 5..8);
    fs::copy(host.path(), host.beside("1")).unwrap();
    OpenOptions::new().write(true).open(host.path()).unwrap().set_len(0).unwrap();
    host.write(&host.path(), 8..9);
    read(&mut tail, &host, &mut taken);
    // A new file that is longer than what was read of the one before is known by its beginning.
    OpenOptions::new().write(true).open(host.path()).unwrap().set_len(0).unwrap();
    host.write(&host.path(), 9..30);
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(0..30));
}

#[test]
fn a_restart_neither_repeats_nor_loses() {
    let host = Host::new();
    host.write(&host.path(), 0..5);
    let (mut tail, mut taken) = (host.tail(&host.log(), &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    let position = taken.positions[0];
    // While nobody looks: it grows, is moved aside, packed, and there are two files more.
    host.write(&host.path(), 5..7);
    let packed = fs::File::create(host.beside("20261130-100001.gz")).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(packed, flate2::Compression::fast());
    encoder.write_all(&fs::read(host.path()).unwrap()).unwrap();
    encoder.finish().unwrap();
    fs::remove_file(host.path()).unwrap();
    host.write(&host.beside("20261130-100002"), 7..9);
    host.write(&host.path(), 9..11);
    let (mut tail, mut taken) = (host.tail(&host.log(), &[position]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(5..11));
    // All that is there, for a destination that never had any of it.
    let (mut tail, mut taken) = (host.tail(&host.log(), &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(0..11));
    // The file of the position is gone for good.
    fs::remove_file(host.beside("20261130-100001.gz")).unwrap();
    let (mut tail, mut taken) = (host.tail(&host.log(), &[position]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(7..11));
}

#[test]
fn another_file_of_the_same_inode_is_another_file() {
    let host = Host::new();
    host.write(&host.path(), 0..5);
    let (mut tail, mut taken) = (host.tail(&host.log(), &[None]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    let position = taken.positions[0];
    // The same inode with other contents, as if the file had been removed and its number given to the next.
    OpenOptions::new().write(true).open(host.path()).unwrap().set_len(0).unwrap();
    host.write(&host.path(), 10..30);
    let (mut tail, mut taken) = (host.tail(&host.log(), &[position]), Taken::new(1));
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], lines(10..30));
}

#[test]
fn destinations_at_different_places_get_each_line_once() {
    let host = Host::new();
    host.write(&host.path(), 0..4);
    let log = host.log();
    let mut taken = Taken::new(4);
    read(&mut host.tail(&log, &[None]), &host, &mut taken);
    let early = taken.positions[0];
    fs::rename(host.path(), host.beside("20261130-100001")).unwrap();
    host.write(&host.path(), 4..8);
    let mut taken = Taken::new(4);
    read(&mut host.tail(&host.log(), &[early]), &host, &mut taken);
    let late = taken.positions[0];
    host.write(&host.path(), 8..10);
    let mut taken = Taken::new(4);
    read(&mut host.tail(&host.log(), &[late, None, early, late]), &host, &mut taken);
    assert_eq!(taken.lines, [lines(8..10), lines(0..10), lines(4..10), lines(8..10)]);
    assert_eq!(taken.positions[0], taken.positions[1]);
}

#[test]
fn lines_come_when_they_are_whole() {
    let host = Host::new();
    let mut file = OpenOptions::new().append(true).create(true).open(host.path()).unwrap();
    let log = host.log();
    let (mut tail, mut taken) = (host.tail(&log, &[None]), Taken::new(1));
    file.write_all(b"1970-01-01T00:00:01Z stdout F on").unwrap();
    read(&mut tail, &host, &mut taken);
    assert!(taken.lines[0].is_empty());
    file.write_all(b"e\n1970-01-01T00:00:01Z stdout F tw").unwrap();
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], ["one"]);
    // Whoever wrote it was killed: the next file is there.
    fs::rename(host.path(), host.beside("1")).unwrap();
    host.write(&host.path(), 3..4);
    log.refresh().unwrap();
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], ["one", "tw", "line 3"]);
    // One without an end is passed on in pieces, so that memory has a bound.
    fs::write(host.path(), vec![b'x'; 3 * CHUNK + 1]).unwrap();
    read(&mut tail, &host, &mut taken);
    let lengths: Vec<_> = taken.lines[0][3..].iter().map(String::len).collect();
    assert_eq!(lengths, [CHUNK, CHUNK, CHUNK]);
}

#[test]
fn a_limit_counts_and_says_so() {
    let host = Host { per_second: 10, ..Host::new() };
    host.write(&host.path(), 0..100);
    let now = Instant::now();
    let (mut tail, mut taken) = (host.tail(&host.log(), &[None]), Taken::new(1));
    read_at(&mut tail, &host, &mut taken, now);
    assert_eq!(taken.lines[0][..10], lines(0..10));
    assert_eq!(taken.lines[0][10..], ["lepton: 90 lines are missing here: too many came at once"]);
    assert_eq!((taken.left_out, taken.positions[0].unwrap().unsaid), (90, 0));
    host.write(&host.path(), 100..200);
    read_at(&mut tail, &host, &mut taken, now + Duration::from_millis(500));
    assert_eq!(taken.positions[0].unwrap().unsaid, 95);
    // The number is not forgotten by a restart.
    let (mut tail, mut after) = (host.tail(&host.log(), &taken.positions), Taken::new(1));
    read_at(&mut tail, &host, &mut after, now + Duration::from_secs(2));
    assert_eq!(after.lines[0], ["lepton: 95 lines are missing here: too many came at once"]);
}

#[test]
fn a_log_that_is_far_ahead_is_counted() {
    let host = Host::new();
    host.write(&host.path(), 0..30_000);
    let total = fs::metadata(host.path()).unwrap().len();
    let (mut tail, mut taken) = (host.tail(&host.log(), &[None]), Taken::new(1));
    let mut bench = Bench { ahead: total / 2, ..host.bench() };
    let now = Instant::now();
    while tail.turn(&mut bench, &mut taken, now).unwrap() == Turn::More {}
    let lines = &taken.lines[0];
    let notice = format!("lepton: {} lines are missing here: too many came at once", taken.left_out);
    assert!(taken.left_out > 10_000);
    assert_eq!((lines[0].as_str(), lines.last().unwrap().as_str()), (notice.as_str(), "line 29999"));
    assert_eq!(lines.len() as u64 - 1 + taken.left_out, 30_000);
}

#[test]
fn a_removed_log_is_read_to_its_end() {
    let host = Host::new();
    host.write(&host.path(), 0..3);
    let log = host.log();
    let (mut tail, mut taken) = (host.tail(&log, &[None]), Taken::new(1));
    host.write(&host.path(), 3..5);
    fs::remove_file(host.path()).unwrap();
    log.refresh().unwrap();
    let now = Instant::now();
    read_at(&mut tail, &host, &mut taken, now);
    assert_eq!(taken.lines[0], lines(0..5));
    assert_eq!(tail.turn(&mut host.bench(), &mut taken, now + LINGER).unwrap(), Turn::Over);
}

#[test]
fn only_what_is_not_the_containers_own() {
    let host = Host::new();
    host.write(&host.path(), 0..3);
    let only = Some(&b"line 1"[..]);
    let mut tail = Tail::new(host.log(), &[(0, None)], only, &host.bench(), Instant::now());
    let mut taken = Taken::new(1);
    read(&mut tail, &host, &mut taken);
    assert_eq!(taken.lines[0], ["line 1"]);
}
