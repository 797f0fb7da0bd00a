//! The program is killed at random moments: no line is torn or lost, and none that was confirmed comes again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{Host, until, write_lines};
use crate::otlp::Collector;
use crate::receiver::Receiver;

/// Kills and starts the program so often while `write` writes; `before` looks at it before it is killed.
fn torture(host: &mut Host, rounds: u64, mut write: impl FnMut(&Host, u64), before: impl Fn(&Host)) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..rounds {
        host.start();
        write(host, round);
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        std::thread::sleep(Duration::from_millis(random % 250));
        before(host);
        host.kill();
        write(host, round + rounds);
    }
}

fn numbers(texts: &[String]) -> BTreeMap<u64, u32> {
    let mut seen = BTreeMap::new();
    for text in texts {
        *seen.entry(text.strip_prefix("line ").unwrap().parse().unwrap()).or_default() += 1;
    }
    seen
}

#[test]
fn over_tcp() {
    let receiver = Receiver::tcp();
    let mut host =
        Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n", receiver.address));
    let next = AtomicU64::new(0);
    let write = |host: &Host, round: u64| {
        let first = next.fetch_add(200, Ordering::Relaxed);
        if round % 7 == 3 {
            let aside = format!("{}.20261130-{first:06}", host.log().display());
            let _ = std::fs::rename(host.log(), aside);
        }
        write_lines(&host.log(), first..first + 200);
    };
    torture(&mut host, 40, write, |_| {});
    let lines = next.load(Ordering::Relaxed);
    host.start();
    until("all lines", || {
        let of = |name: &str| host.figure(name, "central");
        of("sent_lines_total") + of("dropped_lines_total") == lines
    });
    host.stop();
    // Lines of a connection that was cut within a line come again as a whole, in another connection.
    let (texts, missing) = receiver.texts();
    assert_eq!(missing, 0);
    let seen = numbers(&texts);
    assert_eq!(seen.keys().copied().collect::<Vec<_>>(), (0..lines).collect::<Vec<_>>());
    let again: u32 = seen.values().map(|count| count - 1).sum();
    eprintln!("{lines} lines, 40 kills, {again} came again");
}

#[test]
fn over_otlp_nothing_that_was_confirmed_comes_again() {
    // Lines before this one were confirmed, as the program itself said before it was killed.
    let confirmed = Arc::new(AtomicU64::new(0));
    let came_again = Arc::new(AtomicBool::new(false));
    let came = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let collector = Collector::start({
        let (confirmed, came_again, came) =
            (Arc::clone(&confirmed), Arc::clone(&came_again), Arc::clone(&came));
        move |texts| {
            for (number, count) in numbers(texts) {
                came_again.fetch_or(number < confirmed.load(Ordering::Relaxed), Ordering::Relaxed);
                *came.lock().unwrap().entry(number).or_default() += count;
            }
            (200, Vec::new())
        }
    });
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'otlp+http://{}'\n",
        collector.address
    ));
    let next = AtomicU64::new(0);
    let write = |host: &Host, _| {
        let first = next.fetch_add(200, Ordering::Relaxed);
        write_lines(&host.log(), first..first + 200);
    };
    torture(&mut host, 25, write, |host| {
        confirmed.fetch_max(host.figure("sent_lines_total", "central"), Ordering::Relaxed);
    });
    let lines = next.load(Ordering::Relaxed);
    assert!(confirmed.load(Ordering::Relaxed) > 0, "the program had time to send something");
    host.start();
    until("all lines", || host.figure("sent_lines_total", "central") == lines);
    host.stop();
    let came = came.lock().unwrap();
    assert_eq!(came.len() as u64, lines);
    assert!(!came_again.load(Ordering::Relaxed), "what was confirmed came again");
    let again: u32 = came.values().map(|count| count - 1).sum();
    eprintln!("{lines} lines, 25 kills, {again} came again because their answer was not read");
}

#[test]
fn counts_are_kept_while_the_destination_is_away() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut host = Host::new(&format!(
        "[logs]\nbuffer-mib = 1\n[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{address}'\n"
    ));
    let next = AtomicU64::new(0);
    let write = |host: &Host, _| {
        let first = next.fetch_add(3000, Ordering::Relaxed);
        write_lines(&host.log(), first..first + 3000);
    };
    torture(&mut host, 20, write, |_| {});
    let lines = next.load(Ordering::Relaxed);
    host.start();
    until("all is read", || {
        let of = |name: &str| host.figure(name, "central");
        of("dropped_lines_total") + of("buffered_lines") == lines
    });
    assert!(host.figure("dropped_lines_total", "central") > 0);
    let receiver = Receiver::again(address);
    until("what is left, and what is missing", || {
        let (texts, missing) = receiver.texts();
        texts.len() as u64 + missing == lines
    });
    host.stop();
}
