//! JSON lines over TCP and TLS, and syslog over TLS, byte by byte.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;

use crate::host::{Host, until, write_lines};
use crate::receiver::Receiver;
use crate::rfc5424;
use crate::trust::Trust;

fn fill(host: &Host) {
    write_lines(&host.log(), 0..3);
    let container = host.path("containers/db");
    fs::create_dir_all(&container).unwrap();
    fs::write(container.join("log"), "2026-11-30T10:00:00.000000001+01:00 stderr P a \"b\"]\n").unwrap();
    fs::write(host.path("host/kernel.log"), "=== boot x\n2026-11-30T10:00:00.500Z 1.500 lepton: up\n")
        .unwrap();
    fs::write(host.path("host/services/network.log"), "2026-11-30T10:00:00.500Z 1.500 é\tlink\n").unwrap();
}

#[test]
fn json_lines_over_tcp() {
    let receiver = Receiver::tcp();
    let mut host =
        Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n", receiver.address));
    fill(&host);
    host.start();
    until("six lines", || receiver.lines().len() == 6);
    let name = rustix::system::uname().nodename().to_str().unwrap().to_owned();
    let mut lines = receiver.lines();
    lines.sort();
    let pod = "\"namespace\":\"shop\",\"pod\":\"web-1\",\"pod-uid\":\"c7e4c2a1\",\"restart\":0,\"container\":\"app\"";
    let mut expected = [
        format!(
            "{{\"time\":\"2026-11-30T09:00:00.000000001Z\",\"host\":\"{name}\",\"unit\":\"db\",\"container\":\"db\",\"stream\":\"stderr\",\"partial\":true,\"text\":\"a \\\"b\\\"]\"}}"
        ),
        format!(
            "{{\"time\":\"2026-11-30T10:00:00.000000000Z\",\"host\":\"{name}\",{pod},\"stream\":\"stdout\",\"text\":\"line 0\"}}"
        ),
        format!(
            "{{\"time\":\"2026-11-30T10:00:00.000000001Z\",\"host\":\"{name}\",{pod},\"stream\":\"stdout\",\"text\":\"line 1\"}}"
        ),
        format!(
            "{{\"time\":\"2026-11-30T10:00:00.000000002Z\",\"host\":\"{name}\",{pod},\"stream\":\"stdout\",\"text\":\"line 2\"}}"
        ),
        format!(
            "{{\"time\":\"2026-11-30T10:00:00.500000000Z\",\"host\":\"{name}\",\"unit\":\"kernel\",\"stream\":\"log\",\"text\":\"lepton: up\"}}"
        ),
        format!(
            "{{\"time\":\"2026-11-30T10:00:00.500000000Z\",\"host\":\"{name}\",\"unit\":\"network\",\"stream\":\"log\",\"text\":\"é\\tlink\"}}"
        ),
    ];
    expected.sort();
    assert_eq!(lines, expected);
    // What comes later comes at once, in order, and in one connection.
    for number in 3..50 {
        write_lines(&host.log(), number..number + 1);
    }
    until("all lines", || receiver.lines().len() == 53);
    let (texts, missing) = receiver.texts();
    let ours: Vec<_> = texts.iter().filter(|text| text.starts_with("line ")).collect();
    assert_eq!(
        ours,
        (0..50).map(|number| format!("line {number}")).collect::<Vec<_>>().iter().collect::<Vec<_>>()
    );
    assert_eq!((missing, receiver.connections()), (0, 1));
    until("all are confirmed", || host.figure("sent_lines_total", "central") == 53);
    assert_eq!(host.of_sources("read_lines_total"), 53);
    assert_eq!(host.figure("sent_bytes_total", "central"), receiver.bytes().len() as u64);
    host.stop();
}

#[test]
fn only_the_sources_that_are_wanted() {
    let (all, kernel) = (Receiver::tcp(), Receiver::tcp());
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'all'\nurl = 'tcp://{}'\n\
         [[logs.destinations]]\nname = 'kernel'\nurl = 'tcp://{}'\nsources = ['kernel']\n",
        all.address, kernel.address
    ));
    fill(&host);
    host.start();
    until("all lines", || all.lines().len() == 6);
    until("the kernel's", || kernel.lines().len() == 1);
    // What the config says now is done at the next start, for which the program ends by itself.
    host.configure(&format!("[[logs.destinations]]\nname = 'kernel'\nurl = 'tcp://{}'\n", kernel.address));
    assert!(host.ended(), "{}", host.said());
    assert!(host.path("state/all").exists());
    host.start();
    until("what it never had", || kernel.lines().len() == 6);
    assert!(!host.path("state/all").exists(), "nobody's any more");
    assert_eq!(all.lines().len(), 6);
    host.stop();
}

#[test]
fn json_lines_over_tls() {
    let trust = Trust::new();
    let receiver = Receiver::tls(trust.server());
    let config = |pem: &str| {
        format!(
            "[[logs.destinations]]\nname = 'central'\nurl = 'tls://{}'\ntrust-bundle = '''{pem}'''\n",
            receiver.address
        )
    };
    // Another authority's destination is no destination.
    let mut host = Host::new(&config(&Trust::new().pem));
    write_lines(&host.log(), 0..100);
    host.start();
    until("it is refused", || host.figure("retries_total", "central") > 1);
    assert!(receiver.bytes().is_empty());
    host.kill();
    host.configure(&config(&trust.pem));
    host.start();
    until("all lines", || receiver.lines().len() == 100);
    until("all are confirmed", || host.figure("sent_lines_total", "central") == 100);
    assert_eq!(host.figure("dropped_lines_total", "central"), 0);
    host.stop();
    assert!(host.said().contains("invalid peer certificate"), "{}", host.said());
}

#[test]
fn syslog_over_tls() {
    let trust = Trust::new();
    let receiver = Receiver::tls(trust.server());
    let mut host = Host::new(&format!(
        "[[logs.destinations]]\nname = 'central'\nurl = 'syslog+tls://{}'\ntrust-bundle = '''{}'''\n",
        receiver.address, trust.pem
    ));
    fill(&host);
    host.start();
    until("six messages", || rfc5424::messages(&receiver.bytes()).is_ok_and(|all| all.len() == 6));
    let bytes = receiver.bytes();
    let messages = rfc5424::messages(&bytes).unwrap();
    let find = |app: &str| messages.iter().find(|message| message.app == app).unwrap();
    let db = find("db");
    assert_eq!((db.priority, db.timestamp.as_str()), (16 * 8 + 3, "2026-11-30T09:00:00.000000Z"));
    assert_eq!(db.message, b"a \"b\"]");
    let data = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        db.data,
        [
            data("unit", "db"),
            data("container", "db"),
            data("stream", "stderr"),
            data("partial", "true"),
            data("ns", "1796029200000000001")
        ]
    );
    assert_eq!((find("kernel").priority, find("network").priority, find("app").priority), (6, 30, 134));
    assert_eq!(find("network").message, "é\tlink".as_bytes());
    host.stop();
    judge_with_python(&bytes);
}

/// Another reading of the two documents.
#[expect(clippy::disallowed_methods, reason = "a judge that is not of this repository")]
fn judge_with_python(bytes: &[u8]) {
    let judge = r#"
import re, sys
data, count = sys.stdin.buffer.read(), 0
header = re.compile(rb'<(0|[1-9][0-9]{0,2})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)) '
                    rb'[!-~]{1,255} [!-~]{1,48} [!-~]{1,128} [!-~]{1,32} '
                    rb'(-|(\[[!#-<>-\\^-~]{1,32}( [!#-<>-\\^-~]{1,32}="([^"\\\]]|\\["\\\]])*")*\])+)( .*)?', re.S)
while data:
    size = re.match(rb'([1-9][0-9]*) ', data)
    start, end = size.end(), size.end() + int(size[1])
    message = header.fullmatch(data[start:end])
    assert len(data) >= end and message and int(message[1]) < 192, data[:200]
    data, count = data[end:], count + 1
print(count)
"#;
    let child =
        Command::new("python3").args(["-c", judge]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        eprintln!("left out: there is no python3 to judge the messages");
        return;
    };
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "6");
}

#[test]
fn a_broken_connection_loses_nothing() {
    let receiver = Receiver::tcp();
    receiver.manners.break_after.store(100_000, Ordering::Relaxed);
    let mut host =
        Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n", receiver.address));
    host.start();
    for round in 0..20 {
        write_lines(&host.log(), round * 500..round * 500 + 500);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    until("it broke off", || receiver.connections() > 3);
    receiver.manners.break_after.store(0, Ordering::Relaxed);
    until("all lines", || host.figure("sent_lines_total", "central") == 10_000);
    // What the other kernel had confirmed and the receiver had not read is lost with the connection: TCP says no more.
    let lost = lost(&receiver, 10_000);
    assert!(lost < 10_000 / 4, "{lost}");
    assert_eq!(host.figure("dropped_lines_total", "central"), 0);
    host.stop();
}

/// How many of the lines did not come.
fn lost(receiver: &Receiver, lines: usize) -> usize {
    let mut seen = vec![false; lines];
    for text in receiver.texts().0 {
        seen[text.strip_prefix("line ").unwrap().parse::<usize>().unwrap()] = true;
    }
    seen.iter().filter(|seen| !**seen).count()
}

#[test]
fn what_was_not_confirmed_comes_again() {
    let receiver = Receiver::small();
    receiver.manners.is_stuck.store(true, Ordering::Relaxed);
    let mut host =
        Host::new(&format!("[[logs.destinations]]\nname = 'central'\nurl = 'tcp://{}'\n", receiver.address));
    write_lines(&host.log(), 0..20_000);
    host.start();
    for _ in 0..5 {
        let before = receiver.connections();
        until("it is connected", || host.figure("connected", "central") == 1);
        std::thread::sleep(std::time::Duration::from_millis(300));
        receiver.manners.breaks.store(true, Ordering::Relaxed);
        until("it connects again", || receiver.connections() > before);
    }
    let sent = host.figure("sent_lines_total", "central");
    assert!(sent < 10_000, "most of what was written was not confirmed: {sent}");
    receiver.manners.is_stuck.store(false, Ordering::Relaxed);
    until("all lines", || host.figure("sent_lines_total", "central") == 20_000);
    host.stop();
    // Nothing is lost but what the receiver's kernel had said it has.
    assert!(lost(&receiver, 20_000) as u64 <= sent, "{sent}");
}
