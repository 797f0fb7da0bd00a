//! The two ioctls of a watchdog device (`include/uapi/linux/watchdog.h`).
#![expect(unsafe_code, reason = "rustix has no safe calls for watchdog devices")]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Updater, ioctl, opcode};

/// `struct watchdog_info`.
#[repr(C)]
struct Info {
    options: u32,
    firmware_version: u32,
    identity: [u8; 32],
}

/// Its name, as the driver gives it.
pub(super) fn identity(device: impl AsFd) -> io::Result<String> {
    // SAFETY: WDIOC_GETSUPPORT writes one `struct watchdog_info`, of which every pattern of bytes is valid.
    let getter = unsafe { Getter::<{ opcode::read::<Info>(b'W', 0) }, Info>::new() };
    // SAFETY: the kernel writes into the value that the getter holds, and nowhere else.
    let info = unsafe { ioctl(device, getter) }?;
    let end = info.identity.iter().position(|byte| *byte == 0).unwrap_or(info.identity.len());
    Ok(String::from_utf8_lossy(&info.identity[..end]).into_owned())
}

/// Sets its time in seconds; gives the one it has taken.
pub(super) fn set_timeout(device: impl AsFd, seconds: i32) -> io::Result<i32> {
    let mut seconds = seconds;
    // SAFETY: WDIOC_SETTIMEOUT reads and writes one int.
    let updater = unsafe { Updater::<{ opcode::read_write::<i32>(b'W', 6) }, i32>::new(&mut seconds) };
    // SAFETY: the kernel changes only the number that the updater borrows.
    unsafe { ioctl(device, updater) }?;
    Ok(seconds)
}
