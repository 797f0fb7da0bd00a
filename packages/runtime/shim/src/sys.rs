//! The one unsafe thing of this crate: a signal by any number.
#![expect(unsafe_code, reason = "the crate that knows signals allows named ones only")]

use rustix::process::Signal;

/// Highest signal of Linux.
const HIGHEST: i32 = 64;

/// The signal of this number, real-time ones included.
pub(crate) fn signal(number: i32) -> Option<Signal> {
    if !(1..=HIGHEST).contains(&number) {
        return None;
    }
    // SAFETY: what the C library keeps for itself must not be handled or masked; here it is sent to another program.
    Some(unsafe { Signal::from_raw_unchecked(number) })
}
