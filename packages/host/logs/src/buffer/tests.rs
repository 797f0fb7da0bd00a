//! What a buffer keeps, drops and finds again.

use std::fs;

use super::*;
use crate::record::{Record, Records, Stream};

const KEY: &str = "services/a";
const OTHER: &str = "services/b";

/// Adds lines with numbers for texts, `count` of them from `first` on, in one frame.
fn add(buffer: &Buffer, key: &str, first: u64, count: u64) {
    let mut records = Vec::new();
    for number in first..first + count {
        let text = format!("{number:064}");
        Record { time_ns: number, stream: Stream::Log, is_part: false, text: text.as_bytes() }
            .encode(&mut records);
    }
    let position = Position { offset: first + count, ..Position::default() };
    let lines = u32::try_from(count).unwrap();
    let batch = Batch { key, position, left_out: 0, lines, records: Records(&records) };
    buffer.append(&batch, &batch.encode()).unwrap();
}

/// Numbers of the lines of an item, or nothing for a notice.
fn numbers(item: &Item) -> Vec<u64> {
    let Item::Lines { frame, .. } = item else { return Vec::new() };
    let Some(frame::Frame::Batch(batch)) = frame::decode(&mut frame.as_slice()) else { panic!("no batch") };
    batch.records.map(|record| record.time_ns).collect()
}

/// Takes all there is, and says that it was received.
fn take_all(buffer: &Buffer) -> (Vec<u64>, u64) {
    let mut reader = buffer.reader();
    let (mut taken, mut missing) = (Vec::new(), 0);
    while let Some(item) = buffer.next(&mut reader).unwrap() {
        taken.extend(numbers(&item));
        if let Item::Notice { lines, .. } = &item {
            missing += lines;
        }
        buffer.acked(&item, &mut reader, 0).unwrap();
    }
    (taken, missing)
}

#[track_caller]
fn check_sum(buffer: &Buffer, written: u64) {
    let figures = buffer.figures();
    assert_eq!(figures.sent + figures.dropped + figures.waiting, written, "{figures:?}");
}

#[test]
fn lines_go_through_once_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    for first in 0..5000 {
        add(&buffer, KEY, first, 1);
        if first % 1000 == 999 {
            let (taken, missing) = take_all(&buffer);
            assert_eq!(taken, (first - 999..=first).collect::<Vec<_>>());
            assert_eq!(missing, 0);
            assert!(!buffer.has_work());
        }
    }
    check_sum(&buffer, 5000);
    assert_eq!(segment::list(dir.path()).unwrap().len(), 1, "what was sent is removed");
    assert_eq!(buffer.position(KEY).unwrap().offset, 5000);
}

#[test]
fn the_oldest_go_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    for round in 0..500 {
        add(&buffer, KEY, round * 100, 90);
        add(&buffer, OTHER, round * 100 + 90, 10);
        let figures = buffer.figures();
        assert!(figures.bytes <= 1 << 20, "{figures:?}");
    }
    check_sum(&buffer, 50_000);
    let on_disk: u64 = segment::list(dir.path())
        .unwrap()
        .iter()
        .map(|n| fs::metadata(segment::path(dir.path(), *n)).unwrap().len())
        .sum();
    assert!(on_disk <= 1 << 20, "{on_disk}");
    let (taken, missing) = take_all(&buffer);
    assert_eq!(taken, (50_000 - taken.len() as u64..50_000).collect::<Vec<_>>(), "the newest, in order");
    assert_eq!(missing + taken.len() as u64, 50_000);
    check_sum(&buffer, 50_000);
    // It was told, and is not told again.
    assert_eq!(take_all(&buffer), (Vec::new(), 0));
}

#[test]
fn what_is_under_way_is_not_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    for first in 0..1000 {
        add(&buffer, KEY, first, 1);
    }
    let mut reader = buffer.reader();
    let flight: Vec<Item> = (0..500).map(|_| buffer.next(&mut reader).unwrap().unwrap()).collect();
    for round in 10..400 {
        add(&buffer, KEY, round * 100, 100);
    }
    for item in &flight {
        buffer.acked(item, &mut reader, 0).unwrap();
    }
    let sent: Vec<u64> = flight.iter().flat_map(numbers).collect();
    assert_eq!(sent, (0..500).collect::<Vec<_>>());
    assert_eq!(buffer.figures().sent, 500);
    let written = 1000 + 390 * 100;
    check_sum(&buffer, written);
    let (rest, missing) = take_all(&buffer);
    assert_eq!(500 + rest.len() as u64 + missing, written);
    assert!(missing > 0 && rest.is_sorted());
}

#[test]
fn a_broken_connection_sends_again_what_was_not_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    (0..10).for_each(|first| add(&buffer, KEY, first, 1));
    let mut reader = buffer.reader();
    let items: Vec<Item> = (0..6).map(|_| buffer.next(&mut reader).unwrap().unwrap()).collect();
    items[..3].iter().for_each(|item| buffer.acked(item, &mut reader, 0).unwrap());
    buffer.release();
    assert_eq!(take_all(&buffer).0, (3..10).collect::<Vec<_>>());
    check_sum(&buffer, 10);
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
        assert_eq!(buffer.position(KEY).map(|it| it.offset), (round > 0).then_some(round * 300));
        check_sum(&buffer, round * 300);
        (0..300).for_each(|line| add(&buffer, KEY, round * 300 + line, 1));
        let mut reader = buffer.reader();
        for line in 0..100 {
            let item = buffer.next(&mut reader).unwrap().unwrap();
            assert_eq!(numbers(&item), [round * 100 + line]);
            buffer.acked(&item, &mut reader, 0).unwrap();
        }
    }
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    assert_eq!(take_all(&buffer), ((2000..6000).collect(), 0));
    check_sum(&buffer, 6000);
}

#[test]
fn counts_survive_a_restart_while_the_destination_is_away() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let buffer = Buffer::open(dir.path(), 256 << 10).unwrap();
        check_sum(&buffer, round * 1000);
        (0..1000).for_each(|line| add(&buffer, KEY, round * 1000 + line, 1));
    }
    let buffer = Buffer::open(dir.path(), 256 << 10).unwrap();
    let (taken, missing) = take_all(&buffer);
    assert_eq!(taken.len() as u64 + missing, 20_000);
    assert_eq!(taken.last(), Some(&19_999));
    // A smaller bound holds at once.
    (0..1000).for_each(|line| add(&buffer, KEY, line, 1));
    drop(buffer);
    let buffer = Buffer::open(dir.path(), 64 << 10).unwrap();
    assert!(buffer.figures().bytes <= 128 << 10, "{:?}", buffer.figures());
    check_sum(&buffer, 21_000);
}

#[test]
fn a_crash_between_counting_and_removing_counts_once() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 256 << 10).unwrap();
    (0..1500).for_each(|line| add(&buffer, KEY, line, 1));
    let oldest = segment::list(dir.path()).unwrap()[0];
    let kept = fs::read(segment::path(dir.path(), oldest)).unwrap();
    let before = buffer.figures();
    while buffer.figures().dropped == before.dropped {
        add(&buffer, KEY, 1500, 1);
    }
    let dropped = buffer.figures();
    drop(buffer);
    // The ledger names the segment, and its file is there again.
    fs::write(segment::path(dir.path(), oldest), kept).unwrap();
    let buffer = Buffer::open(dir.path(), 256 << 10).unwrap();
    assert_eq!(buffer.figures(), dropped);
}

#[test]
fn torn_segments_end_with_their_last_whole_frame() {
    let whole = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(whole.path(), 1 << 20).unwrap();
    (0..20).for_each(|line| add(&buffer, KEY, line, 1));
    drop(buffer);
    let number = segment::list(whole.path()).unwrap()[0];
    let bytes = fs::read(segment::path(whole.path(), number)).unwrap();
    for len in 0..bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(segment::path(dir.path(), number), &bytes[..len]).unwrap();
        let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
        let at = buffer.position(KEY).map_or(0, |position| position.offset);
        add(&buffer, KEY, at, 1);
        assert_eq!(take_all(&buffer), ((0..=at).collect(), 0), "{len}");
    }
}

#[test]
fn damage_on_the_disk_costs_its_segment_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    (0..3000).for_each(|line| add(&buffer, KEY, line, 1));
    let numbers = segment::list(dir.path()).unwrap();
    assert!(numbers.len() > 3);
    let path = segment::path(dir.path(), numbers[1]);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&path, bytes).unwrap();
    let (taken, missing) = take_all(&buffer);
    assert!(missing > 0 && taken.last() == Some(&2999));
    assert_eq!(taken.len() as u64 + missing, 3000);
    assert!(!buffer.has_work());
}

#[test]
fn what_a_destination_does_not_want_is_dropped_and_told() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    add(&buffer, KEY, 0, 10);
    let mut reader = buffer.reader();
    let item = buffer.next(&mut reader).unwrap().unwrap();
    buffer.acked(&item, &mut reader, 4).unwrap();
    let figures = buffer.figures();
    assert_eq!((figures.sent, figures.dropped, figures.refused, figures.waiting), (6, 4, 4, 0));
    assert_eq!(take_all(&buffer), (Vec::new(), 4));
}

#[test]
fn a_notice_alone_is_something_to_send() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    assert!(!buffer.has_work());
    let mut records = Vec::new();
    Record { time_ns: 1, stream: Stream::Lepton, is_part: false, text: b"missing" }.encode(&mut records);
    let batch =
        Batch { key: KEY, position: Position::default(), left_out: 0, lines: 0, records: Records(&records) };
    buffer.append(&batch, &batch.encode()).unwrap();
    assert!(buffer.has_work());
    drop(buffer);
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    assert!(buffer.has_work());
    assert_eq!(take_all(&buffer).0, [1]);
    assert!(!buffer.has_work());
    drop(buffer);
    assert!(!Buffer::open(dir.path(), 1 << 20).unwrap().has_work());
}

#[test]
fn what_came_after_a_segment_that_a_power_cut_tore_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    (0..3000).for_each(|line| add(&buffer, KEY, line, 1));
    drop(buffer);
    let numbers = segment::list(dir.path()).unwrap();
    let torn = segment::path(dir.path(), numbers[numbers.len() - 2]);
    let len = fs::metadata(&torn).unwrap().len();
    fs::OpenOptions::new().write(true).open(torn).unwrap().set_len(len / 2).unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    let at = buffer.position(KEY).unwrap().offset;
    assert!(at < 3000);
    // As the reader of the log does it.
    (at..3000).for_each(|line| add(&buffer, KEY, line, 1));
    assert_eq!(take_all(&buffer), ((0..3000).collect(), 0));
}

#[test]
fn what_a_disk_refuses_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let buffer = Buffer::open(dir.path(), 1 << 20).unwrap();
    add(&buffer, KEY, 0, 100);
    // Something is where the next segment should be.
    let newest = segment::list(dir.path()).unwrap()[0];
    fs::create_dir(segment::path(dir.path(), newest + 1)).unwrap();
    let records = vec![0; 60 << 10];
    let batch = Batch {
        key: OTHER,
        position: Position::default(),
        left_out: 0,
        lines: 7,
        records: Records(&records),
    };
    assert!(buffer.append(&batch, &batch.encode()).is_err());
    let figures = buffer.figures();
    assert_eq!((figures.unwritten, figures.dropped, figures.waiting), (7, 7, 100));
    check_sum(&buffer, 107);
    fs::remove_dir(segment::path(dir.path(), newest + 1)).unwrap();
    add(&buffer, KEY, 100, 100);
    let (taken, missing) = take_all(&buffer);
    assert_eq!((taken.len(), missing), (200, 7));
    check_sum(&buffer, 207);
}
