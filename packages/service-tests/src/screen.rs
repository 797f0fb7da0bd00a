//! What a person in front of the screen sees: the text of the first virtual terminal, as the kernel gives it (vcs(4)).

use std::fs;
use std::io;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::say;

/// The status comes a moment after the ready line.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says line by line what the screen shows, once it shows a host name.
pub(crate) fn show() -> io::Result<ExitCode> {
    let start = Instant::now();
    let mut text = String::new();
    while !text.contains("host  ") && start.elapsed() < PATIENCE {
        sleep(Duration::from_millis(500));
        text = String::from_utf8_lossy(&fs::read("/dev/vcs1")?).into_owned();
    }
    // Eighty columns: no console of ours is drawn with others before a driver comes.
    let columns = 80;
    let rows = text.as_bytes().chunks(columns).map(|row| String::from_utf8_lossy(row).trim_end().to_owned());
    for row in rows.filter(|row| !row.is_empty()) {
        say(&format!("screen {row}"))?;
    }
    say("end")?;
    Ok(ExitCode::SUCCESS)
}
