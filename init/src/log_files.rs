//! Log files on the state partition: this program again, started by PID 1 under the name [`NAME`], with the lines of all
//! logs on its standard input.
//!
//! It may wait for the disk as long as the disk likes. Of each log it keeps [`KEEP`] full files beside the one that grows,
//! each of [`LIMIT`] bytes at most, so that no log is larger than all of these together, and nothing is ever removed by
//! anybody else.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lepton_control::LogLine;

use crate::clock;
use crate::files;
use crate::kmsg;

/// The first argument by which the program knows that it is not PID 1.
pub const NAME: &str = "lepton-log";
/// Where the files lie.
pub const DIR: &str = "/var/log/lepton";
/// The kernel's log has no name among the services.
pub const KERNEL: &str = "";
/// Bytes of one file.
const LIMIT: u64 = 512 * 1024;
/// Full files of one log, the newest with the number 1.
const KEEP: u32 = 3;

/// Adds a line to what is sent: name, milliseconds since the kernel's start and text, with tabs between them.
pub fn frame(bytes: &mut Vec<u8>, name: &str, line: &LogLine) {
    bytes.extend_from_slice(format!("{name}\t{}\t", line.ms).as_bytes());
    // One line stays one line, whatever it holds.
    bytes.extend(line.text.bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
    bytes.push(b'\n');
}

/// The whole life of the process. Signals are blocked as in PID 1: it ends when its input does.
pub fn main() -> ExitCode {
    let boot = files::read_value("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let mut logs = Logs { dir: PathBuf::from(DIR), boot, files: BTreeMap::new() };
    let mut partial = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match io::stdin().read(&mut buffer) {
            Ok(0) => return ExitCode::SUCCESS,
            Ok(count) => {
                partial.extend_from_slice(&buffer[..count]);
                let end = partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                logs.write(&partial[..end], clock::epoch_ms());
                partial.drain(..end);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                kmsg::warn(&format!("cannot read log lines: {error}"));
                return ExitCode::FAILURE;
            }
        }
    }
}

/// All logs.
#[derive(Debug)]
struct Logs {
    dir: PathBuf,
    boot: String,
    files: BTreeMap<String, LogFile>,
}

/// The file of one log that grows.
#[derive(Debug, Default)]
struct LogFile {
    file: Option<File>,
    len: u64,
    text: Vec<u8>,
    /// Lines that could not be written.
    lost: u64,
}

impl Logs {
    /// Writes whole frames; `epoch_ms` is what the wall clock showed at the kernel's start.
    fn write(&mut self, frames: &[u8], epoch_ms: u64) {
        for frame in String::from_utf8_lossy(frames).lines() {
            let mut parts = frame.splitn(3, '\t');
            let (Some(name), Some(ms), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            let Ok(ms) = ms.parse::<u64>() else { continue };
            let log = self.files.entry(name.to_owned()).or_default();
            let line = line(epoch_ms, ms, text);
            if log.len + (log.text.len() + line.len()) as u64 > LIMIT {
                log.flush(&path(&self.dir, name), &self.boot, Room::Rotate);
            }
            log.text.extend_from_slice(line.as_bytes());
        }
        for (name, log) in &mut self.files {
            log.flush(&path(&self.dir, name), &self.boot, Room::Enough);
        }
    }
}

/// Whether the file has room for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Room {
    Enough,
    Rotate,
}

impl LogFile {
    /// Writes what is collected. A disk that refuses costs these lines and nothing else.
    fn flush(&mut self, path: &Path, boot: &str, room: Room) {
        if !self.text.is_empty() {
            let text = std::mem::take(&mut self.text);
            if let Err(error) = self.append(path, boot, &text) {
                if self.lost == 0 {
                    kmsg::warn(&format!("cannot write {}: {error}", path.display()));
                }
                self.lost += text.iter().filter(|byte| **byte == b'\n').count() as u64;
                self.file = None;
            }
        }
        if room == Room::Rotate {
            self.file = None;
            self.len = 0;
            // What cannot be renamed is written on; the next try comes as soon as it is too long again.
            if let Err(error) = rotate(path) {
                kmsg::warn(&format!("cannot rename {}: {error}", path.display()));
            }
        }
    }

    fn append(&mut self, path: &Path, boot: &str, text: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let mut file = open(path)?;
            // Every file says of which boot its lines are; a half line of a power cut stays alone.
            let head = format!("{}=== boot {boot}\n", if ends_in_line(path)? { "" } else { "\n" });
            file.write_all(head.as_bytes())?;
            self.len = file.metadata()?.len();
            self.file = Some(file);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.lost > 0 {
            let lost = format!("=== {} lines could not be written\n", self.lost);
            file.write_all(lost.as_bytes())?;
            self.len += lost.len() as u64;
            self.lost = 0;
        }
        file.write_all(text)?;
        self.len += text.len() as u64;
        Ok(())
    }
}

/// The file of a log that grows: the kernel's beside the folder of the services.
fn path(dir: &Path, name: &str) -> PathBuf {
    match name {
        KERNEL => dir.join("kernel.log"),
        name => dir.join("services").join(format!("{name}.log")),
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(dir) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    // Logs may hold secrets.
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Whether a file ends with a whole line.
fn ends_in_line(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = File::open(path)?;
    let Some(last) = file.metadata()?.len().checked_sub(1) else { return Ok(true) };
    let mut byte = [0];
    file.read_exact_at(&mut byte, last)?;
    Ok(byte == *b"\n")
}

/// Gives each file the next number; the oldest goes.
fn rotate(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| match number {
        0 => path.to_owned(),
        number => PathBuf::from(format!("{}.{number}", path.display())),
    };
    for number in (0..KEEP).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A line of a file: wall clock time, seconds since the kernel's start, text.
fn line(epoch_ms: u64, ms: u64, text: &str) -> String {
    format!("{} {}.{:03} {text}\n", date(epoch_ms + ms), ms / 1000, ms % 1000)
}

/// RFC 3339 in UTC of milliseconds since 1970.
fn date(ms: u64) -> String {
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    // Years begin in March here, so that the day that comes and goes is the last of a year; 719468 days lie between the
    // first of March of the year 0 and 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + later;
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400_001, "2100-03-01T00:00:00.001Z"),
        ] {
            assert_eq!(date(ms), text);
        }
    }

    fn logs(dir: &Path, boot: &str) -> Logs {
        Logs { dir: dir.to_owned(), boot: boot.into(), files: BTreeMap::new() }
    }

    #[test]
    fn boots_follow_each_other_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        logs(dir.path(), "one").write(b"\t1500\tkernel\nweb\t2001\ta\tb\nnonsense\nweb\tx\ty\n", 0);
        let path = dir.path().join("services/web.log");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"half").unwrap();
        logs(dir.path(), "two").write(b"web\t1\tc\n", 86_400_000);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "=== boot one\n1970-01-01T00:00:02.001Z 2.001 a\tb\nhalf\n=== boot two\n1970-01-02T00:00:00.001Z 0.001 c\n"
        );
        assert_eq!(
            fs::read_to_string(dir.path().join("kernel.log")).unwrap(),
            "=== boot one\n1970-01-01T00:00:01.500Z 1.500 kernel\n"
        );
    }

    #[test]
    fn a_log_never_passes_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = logs(dir.path(), "one");
        for round in 0..60 {
            let mut frames = Vec::new();
            for _ in 0..100 {
                frame(&mut frames, "web", &LogLine::new(round, "x".repeat(1000)));
            }
            logs.write(&frames, 0);
        }
        let sizes = files::list_dir(dir.path().join("services")).unwrap();
        assert_eq!(sizes, ["web.log", "web.log.1", "web.log.2", "web.log.3"]);
        for name in sizes {
            let len = fs::metadata(dir.path().join("services").join(&name)).unwrap().len();
            assert!((1..=LIMIT).contains(&len), "{name}: {len}");
        }
        let newest = fs::read_to_string(dir.path().join("services/web.log")).unwrap();
        assert!(newest.starts_with("=== boot one\n") && newest.contains(" 0.059 x"), "{}", newest.len());
    }

    #[test]
    fn what_a_disk_refuses_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let mut logs = logs(dir.path(), "one");
        // A file where the folder should be.
        fs::write(dir.path().join("services"), "").unwrap();
        logs.write(b"web\t1\ta\nweb\t2\tb\n", 0);
        fs::remove_file(dir.path().join("services")).unwrap();
        logs.write(b"web\t3\tc\n", 0);
        let text = fs::read_to_string(dir.path().join("services/web.log")).unwrap();
        assert!(text.contains("=== 2 lines could not be written\n"), "{text}");
    }
}
