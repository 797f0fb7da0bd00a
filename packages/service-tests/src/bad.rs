//! Services that do what services should not do.

use std::io::{self, Write};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::SigSet;
use nix::sys::wait::wait as wait_child;

use crate::sys::in_child;
use crate::{notify, wait};

/// Processes that are orphaned in all, and at once.
const ORPHANS: (usize, usize) = (10_000, 100);
/// Lines between two reports of the flood.
const REPORT_EVERY: u64 = 20_000;

/// Hears no signal that can be blocked.
pub(crate) fn stubborn() -> io::Result<ExitCode> {
    SigSet::all().thread_block()?;
    Ok(wait())
}

/// Leaves a process behind in a session of its own, as daemons of old do.
pub(crate) fn forking() -> io::Result<ExitCode> {
    in_child(|| {
        let _ = rustix::process::setsid();
        wait();
    })?;
    sleep(Duration::from_millis(200));
    Ok(ExitCode::SUCCESS)
}

/// Is alive for a while, and then hangs.
pub(crate) fn watchdog() -> io::Result<ExitCode> {
    notify("READY=1\nSTATUS=alive")?;
    for _ in 0..6 {
        sleep(Duration::from_millis(500));
        notify("WATCHDOG=1")?;
    }
    notify("STATUS=hangs")?;
    Ok(wait())
}

/// Prints as fast as it can.
pub(crate) fn flood() -> io::Result<ExitCode> {
    notify("READY=1")?;
    let mut output = io::stdout().lock();
    for count in 1_u64.. {
        output.write_all(b"a line of the flood, as long as such lines are\n")?;
        if count % REPORT_EVERY == 0 {
            notify(&format!("STATUS={count}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes memory until it is killed.
pub(crate) fn eat() -> io::Result<ExitCode> {
    let mut eaten = Vec::new();
    loop {
        // Touched, or the kernel would only promise it.
        eaten.push(vec![1_u8; 1 << 20]);
        sleep(Duration::from_millis(5));
    }
}

/// Makes children that end at once and leave children of their own to PID 1.
pub(crate) fn orphans() -> io::Result<ExitCode> {
    let (all, at_once) = ORPHANS;
    for _ in 0..all / at_once {
        in_child(|| {
            for _ in 0..at_once {
                if in_child(|| sleep(Duration::from_millis(20))).is_err() {
                    return;
                }
            }
        })?;
        wait_child()?;
    }
    sleep(Duration::from_millis(200));
    Ok(ExitCode::SUCCESS)
}
