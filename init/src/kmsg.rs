//! The log of PID 1: records in the kernel's ring buffer (`/dev/kmsg`), so that `dmesg` and the consoles show
//! kernel and PID 1 in one order.
//!
//! Logging never fails and never blocks; before `/dev` is mounted a record is lost, and the failure line on the
//! consoles carries the text instead.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use lepton_control::LogLine;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// Severity of a record, with the numbers of syslog (RFC 5424, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// A required step failed.
    Error = 3,
    /// Something optional did not work; the host goes on.
    Warning = 4,
    /// A normal event that an operator looks for.
    Notice = 5,
    /// What was done; below the default console level.
    Debug = 7,
}

/// `LOG_DAEMON`: the kernel keeps a non-zero facility, which tells its own records from ours.
const FACILITY: u8 = 3;

/// The kernel refuses records of more than 1024 bytes, prefix included (`PRINTKRB_RECORD_MAX`).
const MAX_TEXT: usize = 900;

/// Appends one record.
///
/// The device is opened for each record: its rate limit of ten records in five seconds counts per open file.
///
/// Tests of this crate leave the log of the machine they run on alone.
pub fn log(level: Level, message: &str) {
    if cfg!(test) {
        return;
    }
    if let Ok(mut device) = OpenOptions::new().write(true).open("/dev/kmsg") {
        // One write is one record; there is nobody to tell when it fails.
        let _ = device.write_all(record(level, message).as_bytes());
    }
}

/// Appends a warning.
pub fn warn(message: &str) {
    log(Level::Warning, message);
}

/// The records that the kernel has kept and those to come, oldest first.
#[derive(Debug)]
pub struct Records(File);

impl Records {
    /// Opens the log at its oldest record.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        Ok(Self(OpenOptions::new().read(true).custom_flags(flags).open("/dev/kmsg")?))
    }
}

/// The next record; none while there is none. Those that cannot be read are left out.
impl Iterator for Records {
    type Item = LogLine;

    fn next(&mut self) -> Option<LogLine> {
        let mut record = [0; 8192];
        loop {
            match self.0.read(&mut record) {
                Ok(length) => {
                    if let Some(line) = read_record(&String::from_utf8_lossy(&record[..length])) {
                        return Some(line);
                    }
                }
                // The record was overwritten before it was read; the next read gives the oldest that is left.
                Err(error) if error.raw_os_error() == Some(Errno::PIPE.raw_os_error()) => {}
                Err(_) => return None,
            }
        }
    }
}

impl AsFd for Records {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A record as `/dev/kmsg` gives it: `priority,number,microseconds,flags;text`, then lines of details.
fn read_record(record: &str) -> Option<LogLine> {
    let (prefix, text) = record.split_once(';')?;
    let microseconds: u64 = prefix.split(',').nth(2)?.parse().ok()?;
    Some(LogLine::new(microseconds / 1000, text.lines().next().unwrap_or_default()))
}

/// The record as `/dev/kmsg` takes it: `<priority>lepton: text`, one line.
fn record(level: Level, message: &str) -> String {
    let mut line = String::with_capacity(MAX_TEXT + 16);
    let _ = write!(line, "<{}>lepton: ", (FACILITY << 3) | level as u8);
    for c in message.chars() {
        if line.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        line.push(if c.is_control() { ' ' } else { c });
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_have_priority_and_one_line() {
        assert_eq!(record(Level::Warning, "a\nb"), "<28>lepton: a b\n");
        assert_eq!(record(Level::Debug, ""), "<31>lepton: \n");
    }

    #[test]
    fn records_are_read_with_their_time() {
        let line = read_record("6,339,5140900,-;NET: Registered\n DEVICE=+pci:0000\n").unwrap();
        assert_eq!((line.ms, line.text.as_str()), (5140, "NET: Registered"));
        assert_eq!(read_record("6,339;x"), None);
        assert_eq!(read_record("x"), None);
    }

    #[test]
    fn long_records_are_cut_on_a_character() {
        let line = record(Level::Error, &"é".repeat(2000));
        assert!(line.len() <= MAX_TEXT + 1, "{}", line.len());
        assert!(line.ends_with("é\n"));
    }
}
