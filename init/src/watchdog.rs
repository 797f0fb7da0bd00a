//! The watchdog device (`Documentation/watchdog/watchdog-api.rst`): fed from the loop of PID 1, it restarts a host whose
//! PID 1 does not come round any more.
//!
//! Nothing else feeds it, and no thread does: a loop that hangs is what it is there to notice.

mod sys;

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::time::Duration;

use crate::kmsg::{self, Level};
use crate::{clock, files};

/// Where the kernel lists the devices.
const LIST: &str = "/sys/class/watchdog";
/// What an orderly stop may take at most once its services have ended: other processes, file systems of slow disks, and
/// some more. A stop that hangs for longer ends in a restart.
const STOPPING_S: u32 = 180;
/// Written before the device is closed, this switches it off; without it a close counts as a hang.
const MAGIC: &[u8] = b"V";

/// Why the device is left alone.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchdogError {
    /// There is none.
    #[error("this host has no watchdog device; remove timeout-s")]
    None,
    /// It cannot be used.
    #[error("cannot open /dev/{name}: {source}")]
    Open {
        /// Its name.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// It does not take the time.
    #[error("/dev/{name} does not take {seconds} s: {source}; choose another timeout-s")]
    Timeout {
        /// Its name.
        name: String,
        /// What was asked for.
        seconds: u32,
        /// What the driver answered.
        source: io::Error,
    },
}

/// An open device, which runs.
#[derive(Debug)]
pub struct Watchdog {
    device: File,
    timeout: Duration,
    next: Duration,
}

impl Watchdog {
    /// Opens the first device, which starts it. Drivers of hardware register before the kernel's own timer, so that one is
    /// used only where there is no other.
    pub fn open(seconds: u32) -> Result<Self, WatchdogError> {
        let name = first(files::list_dir(LIST).unwrap_or_default()).ok_or(WatchdogError::None)?;
        let device = OpenOptions::new().write(true).open(format!("/dev/{name}"));
        let device = device.map_err(|source| WatchdogError::Open { name: name.clone(), source })?;
        let mut watchdog = Self { device, timeout: Duration::ZERO, next: Duration::ZERO };
        if let Err(source) = watchdog.set_timeout(seconds) {
            watchdog.close();
            return Err(WatchdogError::Timeout { name, seconds, source });
        }
        let identity = sys::identity(&watchdog.device).unwrap_or_else(|_| "unknown".to_owned());
        let text = format!("watchdog {name} ({identity}): {} s", watchdog.timeout.as_secs());
        kmsg::log(Level::Notice, &text);
        watchdog.feed(clock::since_boot());
        Ok(watchdog)
    }

    /// When it must be fed next.
    pub fn deadline(&self) -> Duration {
        self.next
    }

    /// Feeds it when a third of its time has passed: it survives one round that comes late.
    pub fn feed(&mut self, now: Duration) {
        if now < self.next {
            return;
        }
        self.next = now + self.timeout / 3;
        // Any byte but the magic one. A device that is gone cannot be fed, and cannot bite.
        let _ = self.device.write(b"1");
    }

    /// The last meal: gives an orderly stop its time, and a stop that hangs its end.
    pub fn begin_stop(&mut self) {
        // A driver with less than that keeps what it has; the loop that stops services feeds it meanwhile.
        let wanted = STOPPING_S.max(u32::try_from(self.timeout.as_secs()).unwrap_or(STOPPING_S));
        let _ = self.set_timeout(wanted);
        self.next = Duration::ZERO;
        self.feed(clock::since_boot());
    }

    /// Switches it off.
    pub fn close(mut self) {
        // When the write fails the device goes on, and restarts the host: the safe side.
        let _ = self.device.write(MAGIC);
    }

    /// Sets the time; drivers round it.
    fn set_timeout(&mut self, seconds: u32) -> io::Result<()> {
        let wanted = i32::try_from(seconds).map_err(io::Error::other)?;
        let given = sys::set_timeout(&self.device, wanted)?;
        self.timeout = Duration::from_secs(u64::try_from(given).unwrap_or(u64::from(seconds)).max(1));
        Ok(())
    }
}

/// The device with the lowest number.
fn first(names: Vec<String>) -> Option<String> {
    let number = |name: &String| name.strip_prefix("watchdog")?.parse::<u32>().ok();
    names.into_iter().filter(|name| number(name).is_some()).min_by_key(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_comes_first() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(first(names(&["watchdog10", "watchdog2", "x"])).as_deref(), Some("watchdog2"));
        assert_eq!(first(names(&["watchdog", "x0"])), None);
    }

    #[test]
    fn it_is_fed_at_a_third_of_its_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = OpenOptions::new().append(true).open(file.path()).unwrap();
        let mut watchdog = Watchdog { device, timeout: Duration::from_secs(30), next: Duration::ZERO };
        for second in 0..=60 {
            watchdog.feed(Duration::from_secs(100 + second));
        }
        assert_eq!(watchdog.deadline(), Duration::from_secs(170));
        assert_eq!(std::fs::read(file.path()).unwrap(), b"1111111");
        watchdog.close();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"1111111V");
    }
}
