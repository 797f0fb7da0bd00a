//! How much of what was written to a connection the other host's kernel has not confirmed.
// UNSAFETY: one ioctl that no safe interface offers.
#![expect(unsafe_code, reason = "SIOCOUTQ")]

use std::io;
use std::os::fd::AsFd;

use rustix::ioctl::{Getter, Opcode, ioctl};

/// SIOCOUTQ, which is TIOCOUTQ for sockets (tcp(7)); x86_64 and aarch64 have the same number.
const SIOCOUTQ: Opcode = 0x5411;

/// Bytes in the socket's send queue, sent or not, that are not acknowledged.
pub(crate) fn unconfirmed(socket: impl AsFd) -> io::Result<u64> {
    // SAFETY: SIOCOUTQ writes one int, which is what the getter has room for.
    let request = unsafe { Getter::<SIOCOUTQ, i32>::new() };
    // SAFETY: the request only writes into its own output, and any descriptor may be asked.
    let count = unsafe { ioctl(socket, request) }?;
    Ok(u64::try_from(count).unwrap_or_default())
}
