//! The files of a log that was moved aside: `NAME.TIME`, as kubelet does it, and `NAME.TIME.gz` of those before the last; or
//! `NAME.1`, `NAME.2` and so on, as shims do it that nobody else does it for. The highest number is the oldest.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How kubelet marks what it has compressed.
const COMPRESSED: &str = ".gz";

/// What was moved aside of a log, the oldest first.
pub fn aside(path: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(name) = path.file_name().and_then(OsStr::to_str) else { return Ok(Vec::new()) };
    #[expect(clippy::disallowed_methods, reason = "sorted below")]
    let entries = fs::read_dir(path.parent().unwrap_or(path))?;
    let mut found = Vec::new();
    for entry in entries {
        let file = entry?.file_name();
        if let Some(time) = file.to_str().and_then(|file| time(file, name)) {
            found.push((age(time), file.len(), path.with_file_name(&file)));
        }
    }
    found.sort();
    // While one is being compressed there are both.
    found.dedup_by(|second, first| second.0 == first.0);
    Ok(found.into_iter().map(|(.., path)| path).collect())
}

/// Whether a file must be unpacked.
pub fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "gz")
}

/// What sorts the oldest first: numbers downwards, times upwards.
fn age(time: &str) -> (bool, u32, String) {
    match time.parse::<u32>() {
        Ok(number) if time.len() <= 4 => (false, u32::MAX - number, String::new()),
        _ => (true, 0, time.to_owned()),
    }
}

fn time<'f>(file: &'f str, name: &str) -> Option<&'f str> {
    let time = file.strip_prefix(name)?.strip_prefix('.')?;
    let time = time.strip_suffix(COMPRESSED).unwrap_or(time);
    let is_time = !time.is_empty() && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    is_time.then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "0.log",
            "0.log.20261129-101112",
            "0.log.20261128-101112.gz",
            "0.log.20261127-101112.gz",
            "0.log.20261127-101112",
            "0.log.20261126-101112.gz.tmp",
            "0.log.",
            "0.log.old",
            "1.log.20261129-101112",
        ] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = aside(&folder.path().join("0.log")).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["0.log.20261127-101112", "0.log.20261128-101112.gz", "0.log.20261129-101112"]);
        assert!(is_compressed(&found[1]) && !is_compressed(&found[0]));
    }

    #[test]
    fn numbers_count_backwards() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["log", "log.1", "log.2", "log.10", "log.3.gz"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let found = aside(&folder.path().join("log")).unwrap();
        let names: Vec<_> = found.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["log.10", "log.3.gz", "log.2", "log.1"]);
    }
}
