//! What the agent prints: PID 1 keeps it. No key and no token comes here.

use std::fmt;
use std::io::Write as _;

/// Prints a line.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    // Nobody reads: no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
