//! Lines for people and test harnesses: the same text on every active console, each once.
//!
//! A console that does not take the line within [`PATIENCE`] loses it: a stuck serial line must not stop PID 1.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;

use crate::{clock, files};

/// How long one console may take for one line: 480 characters at 9600 baud, and far more at any usual rate.
const PATIENCE: Duration = Duration::from_millis(500);

/// The consoles that were written to.
///
/// They stay open: closing the last descriptor of a serial line waits up to 30 s for its output.
#[derive(Debug, Default)]
pub struct Consoles {
    open: Vec<(String, File)>,
}

impl Consoles {
    /// Writes one line to every console that is active now.
    pub fn write_line(&mut self, line: &str) {
        let text = format!("{line}\n");
        for name in Self::active() {
            self.write(&name, text.as_bytes());
        }
    }

    /// Names of the consoles that are active now.
    pub fn active() -> Vec<String> {
        let active = files::read_value("/sys/class/tty/console/active").unwrap_or_default();
        names(&active).into_iter().map(str::to_owned).collect()
    }

    /// Writes to one console.
    pub fn write(&mut self, name: &str, text: &[u8]) {
        let known = self.open.iter().position(|(known, _)| known == name);
        if let Some(index) = known {
            if write_within(&mut self.open[index].1, text, PATIENCE) {
                return;
            }
            // A terminal that was hung up refuses its old descriptors for ever.
            self.open.swap_remove(index);
        }
        if let Ok(mut file) = open(name) {
            write_within(&mut file, text, PATIENCE);
            self.open.push((name.to_owned(), file));
        }
    }
}

/// The device names in the kernel's list; without a list, `/dev/console` stands for its only entry.
fn names(active: &str) -> Vec<&str> {
    let mut names: Vec<_> = active.split_whitespace().collect();
    if names.is_empty() {
        names.push("console");
    }
    names.dedup();
    names
}

/// Without blocking, so that opening does not wait for a carrier, and not as controlling terminal.
fn open(name: &str) -> std::io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags.bits().cast_signed()).open(format!("/dev/{name}"))
}

/// Writes what the console takes in time; false when the descriptor is of no use any more.
fn write_within(console: &mut File, mut text: &[u8], time: Duration) -> bool {
    let deadline = clock::since_boot() + time;
    while !text.is_empty() {
        match console.write(text) {
            Ok(0) => return true,
            Ok(written) => text = &text[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = deadline.saturating_sub(clock::since_boot());
                let ready = poll(
                    &mut [PollFd::new(console, PollFlags::OUT)],
                    Some(&left.try_into().unwrap_or_default()),
                );
                if left.is_zero() || ready != Ok(1) {
                    return true;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_console_once() {
        assert_eq!(names("tty0 ttyS0"), ["tty0", "ttyS0"]);
        assert_eq!(names("ttyS0 ttyS0"), ["ttyS0"]);
        assert_eq!(names(""), ["console"]);
    }

    #[test]
    fn a_stuck_console_loses_the_line_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let _reader = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
            .open(&path)
            .unwrap();
        let mut writer = open(&format!("..{}", path.display())).unwrap();
        let start = clock::since_boot();
        assert!(write_within(&mut writer, &vec![b'x'; 1 << 20], Duration::from_millis(30)));
        let taken = clock::since_boot() - start;
        assert!(taken >= Duration::from_millis(30), "{taken:?}");
    }
}
