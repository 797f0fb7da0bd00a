//! Takes PID 1's own standard streams off the console.
//!
//! The kernel opens them on `/dev/console`, where a write can wait for ever when a serial line is stuck; all
//! output goes through `kmsg.rs` and `console.rs` instead.

use std::fs::OpenOptions;
use std::io;

use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout};

/// Points standard input, output and error to `/dev/null`.
pub fn detach() -> io::Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
