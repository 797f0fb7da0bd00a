//! Destinations that are away or slow: nobody waits for them, and every line is sent or counted.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::host::{Host, until, write_lines};
use crate::receiver::Receiver;

/// Most memory of the program in KiB, whatever happens; docs/logs.md says so.
const MEMORY_KIB: u64 = 64 << 10;

/// How many lines are written, unless this variable says for how many seconds 100 MB of them are written each second.
const LINES: u64 = 1_500_000;
const SECONDS: &str = "LEPTON_TEST_FLOOD_S";
const BYTES_PER_S: u64 = 100_000_000;

/// Writes a log as the runtime and kubelet do: so many lines of about 150 bytes, and a new file after each 10 MiB, of which five
/// are kept. Gives the longest time that a write took, and how many lines it were.
fn flood(path: &Path, seconds: Option<u64>) -> (Duration, u64) {
    let lines = if seconds.is_some() { u64::MAX } else { LINES };
    let (began, mut written) = (Instant::now(), 0);
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    let (mut longest, mut size, mut aside) = (Duration::ZERO, 0, Vec::new());
    let mut text = Vec::new();
    for number in 0..lines {
        writeln!(
            text,
            "2026-11-30T10:00:00.{:09}Z stdout F line {number} {:0>96}",
            number % 1_000_000_000,
            number
        )
        .unwrap();
        let is_last = number + 1 == lines;
        if text.len() < 64 << 10 && !is_last {
            continue;
        }
        if let Some(seconds) = seconds {
            let due = Duration::from_micros(written * 1_000_000 / BYTES_PER_S);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
            if due >= Duration::from_secs(seconds) {
                let last = text.iter().filter(|byte| **byte == b'\n').count() as u64;
                return (longest, number + 1 - last);
            }
        }
        let start = Instant::now();
        file.write_all(&text).unwrap();
        longest = longest.max(start.elapsed());
        size += text.len();
        written += text.len() as u64;
        text.clear();
        if size > 10 << 20 {
            let name = format!("{}.20261130-{:06}", path.display(), aside.len());
            fs::rename(path, &name).unwrap();
            aside.push(name);
            if aside.len() > 4 {
                let _ = fs::remove_file(&aside[aside.len() - 5]);
            }
            file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            size = 0;
        }
    }
    (longest, lines)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the order does not matter")]
fn a_flood_with_the_destination_away() {
    // An address where nobody listens, and where somebody will.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut host = Host::new(&format!(
        "[logs]\nbuffer-mib = 8\n[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{address}'\n"
    ));
    host.start();
    until("it runs", || !host.metrics().is_empty());
    let seconds = std::env::var(SECONDS).ok().map(|text| text.parse().expect("a number of seconds"));
    let start = Instant::now();
    let (longest, lines) = flood(&host.log(), seconds);
    let took = start.elapsed();
    until("all is read", || {
        host.of_sources("read_lines_total") + host.of_sources("left_out_lines_total") == lines
    });
    let left_out = host.of_sources("left_out_lines_total");
    let of = |name: &str| host.figure(name, "central");
    assert_eq!(of("dropped_lines_total") + of("buffered_lines") + left_out, lines);
    assert!(of("dropped_lines_total") > lines / 2, "far more than the buffer holds");
    assert!(of("buffered_bytes") <= 8 << 20);
    let on_disk: u64 = fs::read_dir(host.path("state/central"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(on_disk <= (8 << 20) + (64 << 10), "{on_disk}");
    let peak = host.peak_kib();
    assert!(peak < MEMORY_KIB, "{peak} KiB");
    eprintln!(
        "{lines} lines in {took:.1?}, the longest write took {longest:.1?}; memory {peak} KiB, left out {left_out}"
    );

    let receiver = Receiver::again(address);
    until("the rest is sent", || of("buffered_lines") == 0 && host.figure("connected", "central") == 1);
    assert_eq!(of("sent_lines_total") + of("dropped_lines_total") + left_out, lines);
    until("it came", || receiver.texts().0.len() as u64 == of("sent_lines_total"));
    // What came and what the stream says is missing is all that was written.
    let (texts, missing) = receiver.texts();
    assert_eq!(texts.len() as u64 + missing, lines);
    let numbers: Vec<u64> =
        texts.iter().map(|text| text.split(' ').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted_by(|one, next| one < next), "in order, and none twice");
    assert_eq!(numbers.last(), Some(&(lines - 1)));
    assert!(host.peak_kib() < MEMORY_KIB);
    host.stop();
}

#[test]
fn a_slow_destination_and_a_quick_one() {
    let (slow, quick) = (Receiver::tcp(), Receiver::tcp());
    slow.manners.pause_ms.store(20, Ordering::Relaxed);
    let mut host = Host::new(&format!(
        "[logs]\nbuffer-mib = 1\n[[logs.destinations]]\nname = 'slow'\nurl = 'tcp://{}'\n\
         [[logs.destinations]]\nname = 'quick'\nurl = 'tcp://{}'\n",
        slow.address, quick.address
    ));
    host.start();
    let lines = 60_000;
    for round in 0..60 {
        write_lines(&host.log(), round * 1000..round * 1000 + 1000);
        std::thread::sleep(Duration::from_millis(20));
    }
    until("the quick one has all", || host.figure("sent_lines_total", "quick") == lines);
    assert!(host.figure("sent_lines_total", "slow") < lines);
    assert!(host.figure("dropped_lines_total", "slow") > 0, "{}", host.metrics());
    assert_eq!(host.figure("dropped_lines_total", "quick"), 0);
    slow.manners.pause_ms.store(0, Ordering::Relaxed);
    until("the slow one has what is left", || {
        host.figure("buffered_lines", "slow") == 0 && {
            let (texts, missing) = slow.texts();
            texts.len() as u64 + missing == lines
        }
    });
    assert_eq!(host.figure("sent_lines_total", "slow") + host.figure("dropped_lines_total", "slow"), lines);
    assert_eq!(slow.connections(), 1, "a slow destination is not a broken one");
    host.stop();
}

#[test]
fn a_destination_that_reads_nothing_keeps_nobody_waiting() {
    let (stuck, quick) = (Receiver::tcp(), Receiver::tcp());
    stuck.manners.is_stuck.store(true, Ordering::Relaxed);
    let mut host = Host::new(&format!(
        "[logs]\nbuffer-mib = 1\n[[logs.destinations]]\nname = 'stuck'\nurl = 'tcp://{}'\n\
         [[logs.destinations]]\nname = 'quick'\nurl = 'tcp://{}'\n",
        stuck.address, quick.address
    ));
    host.start();
    let lines = 200_000;
    write_lines(&host.log(), 0..lines);
    until("the quick one has all", || {
        host.figure("sent_lines_total", "quick") + host.figure("dropped_lines_total", "quick") == lines
    });
    let sum = |host: &Host| {
        ["sent_lines_total", "dropped_lines_total", "buffered_lines"]
            .iter()
            .map(|name| host.figure(name, "stuck"))
            .sum::<u64>()
    };
    assert_eq!(sum(&host), lines);
    assert!(host.figure("dropped_lines_total", "stuck") > 0);
    // It comes to itself.
    stuck.manners.is_stuck.store(false, Ordering::Relaxed);
    until("it has what is left", || {
        let (texts, missing) = stuck.texts();
        texts.len() as u64 + missing == lines
    });
    host.stop();
}

#[test]
fn a_limit_per_source() {
    let receiver = Receiver::tcp();
    let mut host = Host::new(&format!(
        "[logs]\nrate-lines-per-s = 100\n[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n",
        receiver.address
    ));
    host.start();
    until("it reads", || !host.metrics().is_empty());
    write_lines(&host.log(), 0..10_000);
    fs::write(host.path("host/kernel.log"), "2026-11-30T10:00:00.500Z 1.500 up\n").unwrap();
    until("what is missing is told", || {
        let (texts, missing) = receiver.texts();
        texts.len() as u64 + missing == 10_001
    });
    assert!(receiver.texts().0.contains(&"up".to_owned()), "another source is not concerned");
    assert_eq!(host.of_sources("left_out_lines_total") + host.of_sources("read_lines_total"), 10_001);
    host.stop();
}
