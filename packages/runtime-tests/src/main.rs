//! A CRI client that judges the container runtime of the host it runs on.
//!
//! It speaks to the host's own socket and says on the console what it saw. It makes no container by itself.

mod cases;
mod host;
mod judge;
mod network;
mod pods;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    judge::judge().unwrap_or_else(|error| {
        eprintln!("runtime-tests: {error}");
        ExitCode::FAILURE
    })
}

/// A line for the boot test.
fn say(text: &str) -> io::Result<()> {
    // One write, so that lines of other programs stay apart.
    OpenOptions::new()
        .write(true)
        .open("/dev/console")?
        .write_all(format!("runtime-tests: {text}\n").as_bytes())
}
