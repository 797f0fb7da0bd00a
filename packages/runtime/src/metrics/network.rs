//! Metrics of a pod's interfaces, read within its network namespace. It must not leave a thread of the runtime there.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::Path;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::series::Series;
use super::table::{self, Family};

/// Counters of `/proc/net/dev` by their column: see proc_pid_net(5).
const COLUMNS: [(&Family, usize); 8] = [
    (&table::RECEIVED_BYTES, 0),
    (&table::RECEIVED, 1),
    (&table::RECEIVE_ERRORS, 2),
    (&table::RECEIVE_DROPPED, 3),
    (&table::SENT_BYTES, 8),
    (&table::SENT, 9),
    (&table::SEND_ERRORS, 10),
    (&table::SEND_DROPPED, 11),
];

/// The table of a namespace that is pinned at a path; none when it is not, or not any more.
pub(super) fn counters(namespace: &Path) -> Option<String> {
    let read = || -> io::Result<String> {
        let file = File::open(namespace)?;
        // A file that pins nothing is no namespace, and refused.
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        fs::read_to_string("/proc/thread-self/net/dev")
    };
    // A thread of its own: it changes its namespace and ends.
    std::thread::scope(|scope| scope.spawn(read).join()).ok()?.ok()
}

/// All interfaces but the loopback.
pub(super) fn add(series: &mut Series, counters: &str) {
    for line in counters.lines() {
        let Some((name, numbers)) = line.split_once(':') else { continue };
        let name = name.trim();
        if name == "lo" {
            continue;
        }
        let numbers: Vec<Option<u64>> =
            numbers.split_whitespace().map(|number| number.parse().ok()).collect();
        for (family, column) in COLUMNS {
            series.add_with(family, &[name], numbers.get(column).copied().flatten());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns() {
        let table = "Inter-|   Receive\n face |bytes packets\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 1 2 3 0 0 0 0 30 4 5 6 0 0 0 0\n";
        let mut series = Series::new(Vec::new());
        add(&mut series, table);
        for (family, value) in [
            (&table::RECEIVED_BYTES, 10),
            (&table::RECEIVE_ERRORS, 2),
            (&table::RECEIVE_DROPPED, 3),
            (&table::SENT_BYTES, 30),
            (&table::SENT, 4),
            (&table::SEND_ERRORS, 5),
            (&table::SEND_DROPPED, 6),
        ] {
            assert_eq!(series.of(family), [(vec!["eth0"], value)], "{}", family.name);
        }
    }

    #[test]
    fn a_plain_file_is_no_namespace() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("net"), "").unwrap();
        assert_eq!(counters(&folder.path().join("net")), None);
        assert_eq!(counters(&folder.path().join("none")), None);
    }
}
