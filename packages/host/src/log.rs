//! What the service prints. PID 1 keeps it.

use std::fmt;
use std::io::Write as _;

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // Nobody reads: no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
