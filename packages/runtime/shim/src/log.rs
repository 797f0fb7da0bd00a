//! Container logs as CRI defines them: `TIME STREAM TAG TEXT`, one line each, where the tag is `F` for a whole line
//! and `P` for a part of one. It must not hold back a line that is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::time;

/// Longest text of one line, in bytes; the rest of a longer one follows as another part. Kubelet's reader expects it.
const PART: usize = 16 * 1024;
/// Annotation of a container whose log nobody else moves aside: bytes after which it becomes `NAME.1`, and what was that
/// `NAME.2`.
pub const MAX_BYTES: &str = "lepton.ctr/log-max-bytes";
/// How many are kept aside: who reads them is not always at once there.
const KEPT: u32 = 4;

/// Which stream of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The log of one container.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
    /// Bytes of the file, when it must not pass a number of them.
    limit: Option<(u64, u64)>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    /// Opens it, after what is there.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Ok(Self { path: path.to_owned(), file, limit: None, stdout: Vec::new(), stderr: Vec::new() })
    }

    /// Moves the file aside by itself when it has so many bytes.
    pub fn limit(&mut self, bytes: u64) -> io::Result<()> {
        self.limit = Some((self.file.metadata()?.len(), bytes));
        Ok(())
    }

    /// Opens the file again by its name: the old one was moved away.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = open(&self.path)?;
        if let Some((size, _)) = &mut self.limit {
            *size = 0;
        }
        Ok(())
    }

    /// Takes what a container wrote.
    pub fn write(&mut self, stream: Stream, text: &[u8]) -> io::Result<()> {
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let now = time::rfc3339(time::now());
        let mut out = Vec::with_capacity(text.len() + 64);
        for byte in text {
            if *byte == b'\n' {
                line(&mut out, &now, stream, b'F', pending);
            } else {
                if pending.len() == PART {
                    line(&mut out, &now, stream, b'P', pending);
                }
                pending.push(*byte);
            }
        }
        self.file.write_all(&out)?;
        if let Some((size, limit)) = &mut self.limit {
            *size += out.len() as u64;
            if *size >= *limit {
                move_aside(&self.path)?;
                self.reopen()?;
            }
        }
        Ok(())
    }

    /// Writes what has no end of line yet: its stream is over.
    pub fn finish(&mut self, stream: Stream) -> io::Result<()> {
        let pending = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        if pending.is_empty() {
            return Ok(());
        }
        let mut out = Vec::new();
        // A part, as the line never ended.
        line(&mut out, &time::rfc3339(time::now()), stream, b'P', pending);
        self.file.write_all(&out)
    }
}

/// Makes `NAME` `NAME.1`, that which had this name `NAME.2`, and so on; the oldest is gone.
fn move_aside(path: &Path) -> io::Result<()> {
    let numbered = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in (1..KEPT).rev() {
        match fs::rename(numbered(number), numbered(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    fs::rename(path, numbered(1))
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

fn line(out: &mut Vec<u8>, now: &str, stream: Stream, tag: u8, text: &mut Vec<u8>) {
    out.extend_from_slice(now.as_bytes());
    out.extend_from_slice(match stream {
        Stream::Stdout => b" stdout ",
        Stream::Stderr => b" stderr ",
    });
    out.extend_from_slice(&[tag, b' ']);
    out.append(text);
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_and_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        log.write(Stream::Stdout, b"one\ntw").unwrap();
        log.write(Stream::Stderr, b"bad\n\n").unwrap();
        log.write(Stream::Stdout, b"o\nrest").unwrap();
        log.finish(Stream::Stdout).unwrap();
        log.finish(Stream::Stderr).unwrap();
        let expected = ["stdout F one", "stderr F bad", "stderr F ", "stdout F two", "stdout P rest"];
        assert_eq!(read(&path), expected);
    }

    #[test]
    fn long_lines_are_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        let mut text = vec![b'a'; PART];
        text.push(b'\n');
        log.write(Stream::Stdout, &text).unwrap();
        text.insert(0, b'b');
        log.write(Stream::Stdout, &text).unwrap();
        let lines = read(&path);
        assert_eq!(lines[0], format!("stdout F {}", "a".repeat(PART)));
        assert_eq!(lines[1], format!("stdout P b{}", "a".repeat(PART - 1)));
        assert_eq!(lines[2], "stdout F a");
    }

    #[test]
    fn a_log_with_a_limit_moves_itself_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        fs::write(&path, "T stdout F before\n").unwrap();
        let mut log = Log::open(&path).unwrap();
        log.limit(100).unwrap();
        for number in 0..5 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        // An entry has 49 bytes: 18 of before and two of those.
        assert_eq!(
            read(&dir.path().join("0.log.1")),
            ["stdout F line 2", "stdout F line 3", "stdout F line 4"]
        );
        assert_eq!(read(&path), Vec::<String>::new());
        for number in 5..18 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes()).unwrap();
        }
        // The last of each file; the first two files are gone.
        let lasts = (1..=5).map(|number| dir.path().join(format!("0.log.{number}")));
        let lasts: Vec<_> =
            lasts.filter(|path| path.exists()).map(|path| read(&path).pop().unwrap()).collect();
        assert_eq!(lasts, ["stdout F line 16", "stdout F line 13", "stdout F line 10", "stdout F line 7"]);
    }

    #[test]
    fn rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path).unwrap();
        log.write(Stream::Stdout, b"old\nha").unwrap();
        fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stdout, b"lf\n").unwrap();
        assert_eq!(read(&dir.path().join("0.log.1")), ["stdout F old"]);
        assert_eq!(read(&path), ["stdout F half"]);
    }
}
