//! The node's name in /etc/hosts of a host that is alone.
//!
//! kubelet looks its own name up whenever it tells the state of a pod. Nobody's DNS knows the name of such a host, and
//! servers that do not answer would hold every pod up; an address of loopback it passes over without asking further.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use crate::failure::{Failure, file_failure};

/// Adds the name unless it is there.
pub(crate) fn name(path: &Path, node_name: &str) -> Result<(), Failure> {
    let text = fs::read_to_string(path).unwrap_or_default();
    if has(&text, node_name) {
        return Ok(());
    }
    let gap = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let line = format!("{gap}127.0.0.1 {node_name}\n");
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(file_failure("add the node's name to", path))
}

fn has(text: &str, name: &str) -> bool {
    let words = |line: &str| {
        line.split('#').next().unwrap_or_default().split_whitespace().skip(1).any(|word| word == name)
    };
    text.lines().any(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_added_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        fs::write(&path, "127.0.0.1 localhost # edge-1").unwrap();
        for _ in 0..2 {
            name(&path, "edge-1").unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "127.0.0.1 localhost # edge-1\n127.0.0.1 edge-1\n");
        assert!(!has("192.0.2.1 edge-10\n", "edge-1"));
        assert!(has("192.0.2.1 a edge-1\n", "edge-1"));
    }
}
