//! Logs that are moved aside, copied and cut, and pods that come and go, while the program runs and while it does not.

use std::fs::{self, OpenOptions};
use std::time::Duration;

use crate::host::{Host, until, write_lines};
use crate::receiver::Receiver;

fn host(receiver: &Receiver) -> Host {
    Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n", receiver.address))
}

fn has_all(receiver: &Receiver, lines: u64) {
    until("all lines", || receiver.texts().0.len() as u64 >= lines);
    std::thread::sleep(Duration::from_millis(200));
    let expected: Vec<_> = (0..lines).map(|number| format!("line {number}")).collect();
    assert_eq!(receiver.texts(), (expected, 0), "each once and in order");
}

#[test]
fn by_rename() {
    let receiver = Receiver::tcp();
    let mut host = host(&receiver);
    host.start();
    until("it runs", || !host.metrics().is_empty());
    for round in 0..60 {
        write_lines(&host.log(), round * 50..round * 50 + 50);
        // As the runtime does it: there is one file aside, which the next one replaces, after a tenth of a second.
        fs::rename(host.log(), format!("{}.1", host.log().display())).unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    write_lines(&host.log(), 3000..3010);
    has_all(&receiver, 3010);
    host.stop();
}

#[test]
fn by_copy() {
    let receiver = Receiver::tcp();
    let mut host = host(&receiver);
    host.start();
    for round in 0..20 {
        write_lines(&host.log(), round * 50..round * 50 + 50);
        until("they are read", || host.of_sources("read_lines_total") == round * 50 + 50);
        write_lines(&host.log(), 0..0);
        fs::copy(host.log(), format!("{}.1", host.log().display())).unwrap();
        OpenOptions::new().write(true).open(host.log()).unwrap().set_len(0).unwrap();
    }
    has_all(&receiver, 1000);
    host.stop();
}

#[test]
fn while_nobody_looks() {
    let receiver = Receiver::tcp();
    let mut host = host(&receiver);
    write_lines(&host.log(), 0..50);
    host.start();
    has_all(&receiver, 50);
    host.stop();
    for round in 1..4 {
        write_lines(&host.log(), round * 50..round * 50 + 40);
        fs::rename(host.log(), format!("{}.20261130-00000{round}", host.log().display())).unwrap();
        write_lines(&host.log(), round * 50 + 40..round * 50 + 50);
    }
    host.start();
    has_all(&receiver, 200);
    host.stop();
    host.start();
    write_lines(&host.log(), 200..210);
    has_all(&receiver, 210);
    host.stop();
}

#[test]
fn pods_that_come_and_go() {
    let receiver = Receiver::tcp();
    let mut host = host(&receiver);
    host.start();
    until("it runs", || !host.metrics().is_empty());
    for round in 0..10 {
        let pod = host.path(&format!("pods/shop_job-{round}_uid{round}"));
        fs::create_dir_all(pod.join("main")).unwrap();
        write_lines(&pod.join("main/0.log"), round * 10..round * 10 + 10);
        std::thread::sleep(Duration::from_millis(1500 / (round + 1)));
        write_lines(&pod.join("main/0.log"), 0..0);
        if round % 2 == 0 {
            until("they came", || receiver.texts().0.len() as u64 == round * 10 + 10);
            fs::remove_dir_all(pod).unwrap();
        }
    }
    until("all lines", || receiver.texts().0.len() == 100);
    until("pods that went are forgotten", || host.metrics().matches("read_lines_total{").count() == 5);
    host.stop();
}
