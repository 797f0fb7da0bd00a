//! The kernel's device events (netlink(7), `NETLINK_KOBJECT_UEVENT`): only whether input devices came.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// The multicast group of the kernel itself; group 2 is for a device manager, which is not here.
const KERNEL_GROUP: u32 = 1;

/// A socket with device events.
#[derive(Debug)]
pub struct Uevents(OwnedFd);

impl Uevents {
    /// Listens from now on.
    pub fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(KOBJECT_UEVENT))?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
        Ok(Self(socket))
    }

    /// Reads all waiting events; true when an input device may have come.
    pub fn input_added(&self) -> bool {
        // The kernel's own limit of one event (`UEVENT_BUFFER_SIZE`).
        let mut buffer = [0; 2048];
        let mut added = false;
        loop {
            match recv(&self.0, &mut buffer, RecvFlags::empty()) {
                Ok((message, _)) => added |= adds_input(&buffer[..message]),
                Err(Errno::INTR) => {}
                // Events were lost: anything may have come.
                Err(Errno::NOBUFS) => added = true,
                Err(_) => return added,
            }
        }
    }
}

impl AsFd for Uevents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// An event is `ACTION@PATH` and `KEY=value` fields, each ended by a NUL.
fn adds_input(message: &[u8]) -> bool {
    let has = |field: &[u8]| message.split(|byte| *byte == 0).any(|found| found == field);
    has(b"ACTION=add") && has(b"SUBSYSTEM=input")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_new_input_devices_count() {
        for (message, expected) in [
            ("add@/devices/x/input3/event3\0ACTION=add\0SUBSYSTEM=input\0DEVNAME=input/event3\0", true),
            ("remove@/devices/x\0ACTION=remove\0SUBSYSTEM=input\0", false),
            ("add@/devices/x\0ACTION=add\0SUBSYSTEM=block\0", false),
            ("", false),
        ] {
            assert_eq!(adds_input(message.as_bytes()), expected, "{message:?}");
        }
    }
}
