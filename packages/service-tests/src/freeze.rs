//! Freezes PID 1, which no signal can: the freezer of its cgroup (cgroup-v2 of the kernel's admin guide) does.

use std::fs;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use crate::{say, wait};

/// More than two times the watchdog's: a host that is fed lives that long.
const ALIVE: Duration = Duration::from_secs(12);
const CGROUP: &str = "/sys/fs/cgroup/frozen";

/// Lets the host live for a while, then freezes its PID 1 for ever.
pub(crate) fn freeze() -> io::Result<ExitCode> {
    sleep(ALIVE);
    say("alive")?;
    fs::create_dir(CGROUP)?;
    fs::write(format!("{CGROUP}/cgroup.procs"), "1")?;
    say("freezing")?;
    fs::write(format!("{CGROUP}/cgroup.freeze"), "1")?;
    Ok(wait())
}
