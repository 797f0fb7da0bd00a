//! What a host says in these tests: something of each kind of source, with what is hard to write down.

use std::fs;

use crate::host::Host;

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    /// A pod's container `app`.
    Pod,
    /// A container of the machine config.
    Container,
    Service,
    Kernel,
}

/// A line that was written.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) from: From,
    /// Nanoseconds since 1970.
    pub(crate) time_ns: u64,
    /// `stdout`, `stderr` or `log`.
    pub(crate) stream: &'static str,
    pub(crate) is_part: bool,
    pub(crate) text: Vec<u8>,
}

/// 2026-11-30T10:00:00Z
const TEN: u64 = 1_796_032_800_000_000_000;

/// Writes all of it, and gives it.
pub(crate) fn say(host: &Host) -> Vec<Line> {
    let long = "0123456789abcdef".repeat(1000);
    let of_pod: [(u64, &str, &str, &[u8]); 6] = [
        (1, "stdout", "F", b"GET / 200"),
        (123_456_789, "stderr", "F", "\u{1f980} \"quoted\" [a] \\b\tc".as_bytes()),
        (200_000_000, "stdout", "F", b""),
        (300_000_000, "stdout", "F", b"  <13>1 - - - - - - blanks are kept  "),
        (400_000_000, "stdout", "P", long.as_bytes()),
        (400_000_001, "stdout", "F", b"its end"),
    ];
    let mut log = Vec::new();
    let mut lines = Vec::new();
    for (ns, stream, tag, text) in of_pod {
        log.extend_from_slice(format!("2026-11-30T10:00:00.{ns:09}Z {stream} {tag} ").as_bytes());
        log.extend_from_slice(text);
        log.push(b'\n');
        lines.push((From::Pod, TEN + ns, stream, tag == "P", text));
    }
    fs::write(host.log(), log).unwrap();
    let container = host.path("containers/db");
    fs::create_dir_all(&container).unwrap();
    let mut log = b"2026-11-30T10:00:00.000001999+01:00 stderr F not \xff UTF-8\n".to_vec();
    fs::write(container.join("log"), &log).unwrap();
    lines.push((From::Container, TEN - 3_600_000_000_000 + 1999, "stderr", false, b"not \xff UTF-8"));
    log.clear();
    let kernel = "=== boot x\n2026-11-30T10:00:00.500Z 1.500 eth0: up\n";
    fs::write(host.path("host/kernel.log"), kernel).unwrap();
    lines.push((From::Kernel, TEN + 500_000_000, "log", false, b"eth0: up"));
    let service = "2026-11-30T10:00:00.501Z 1.501 a lease\n";
    fs::write(host.path("host/services/network.log"), service).unwrap();
    lines.push((From::Service, TEN + 501_000_000, "log", false, b"a lease"));
    let line = |(from, time_ns, stream, is_part, text): (From, u64, &'static str, bool, &[u8])| Line {
        from,
        time_ns,
        stream,
        is_part,
        text: text.to_vec(),
    };
    lines.into_iter().map(line).collect()
}

/// The name of the machine that the tests run on.
pub(crate) fn host_name() -> String {
    rustix::system::uname().nodename().to_str().unwrap().to_owned()
}
