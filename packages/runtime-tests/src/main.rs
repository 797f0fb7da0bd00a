//! A CRI client that judges the container runtime of the host it runs on.
//!
//! It speaks to the host's own sockets and says on the console what it saw. It makes no container by itself.

mod cases;
mod commands;
mod containers;
mod host;
mod judge;
mod network;
mod pods;

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => judge::judge(&cases::CASES, cases::logs),
        ["containers"] => judge::judge(&containers::CASES, containers::logs),
        // In a container whose image has no program.
        ["show", path] => show(path),
        _ => Err(io::Error::other("usage: runtime-tests [containers | show FILE]")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("runtime-tests: {error}");
        ExitCode::FAILURE
    })
}

/// Prints a file.
fn show(path: &str) -> io::Result<ExitCode> {
    let text = std::fs::read(path)?;
    io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// A line for the boot test.
fn say(text: &str) -> io::Result<()> {
    // One write, so that lines of other programs stay apart.
    OpenOptions::new()
        .write(true)
        .open("/dev/console")?
        .write_all(format!("runtime-tests: {text}\n").as_bytes())
}
