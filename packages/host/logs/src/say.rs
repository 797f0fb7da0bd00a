//! What the shipper says of itself: to standard error, which PID 1 keeps as its log. It must say little: its own log is one that
//! it sends.

use std::fmt;
use std::io::Write as _;

/// Prints a line.
pub fn say(line: fmt::Arguments<'_>) {
    // Nobody reads: no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
