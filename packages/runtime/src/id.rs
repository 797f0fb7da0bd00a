//! Ids of pods and containers: 32 random bytes in hexadecimal, as CRI clients expect them.

use std::fs::File;
use std::io::Read as _;

/// A new one.
pub(crate) fn new() -> String {
    let mut bytes = [0_u8; 32];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.expect("the kernel always has random numbers");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
