//! Netlink sockets: one that asks and waits for the answer, one that hears what changed.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkDeserializable as _, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use nix::sys::socket::sockopt::{RcvBuf, ReceiveTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt,
    socket,
};
use nix::sys::time::TimeVal;

/// The kernel fills at most 32 KiB per read of a dump.
const BUFFER: usize = 65_536;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// `RTM_NEWPREFIX` and `RTM_NEWNDUSEROPT` of linux/rtnetlink.h.
const RTM_NEWPREFIX: u16 = 52;
const RTM_NEWNDUSEROPT: u16 = 68;
/// Groups of linux/rtnetlink.h as bits: links, addresses and routes of both families, changes of a link's router
/// flags, prefixes, and options of router advertisements.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11 | 1 << 17 | 1 << 19;
/// Restarts of a dump that was changed while it was read.
const DUMP_ATTEMPTS: usize = 5;

/// The socket that asks.
#[derive(Debug)]
pub struct Netlink {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// A new socket.
    pub fn open() -> io::Result<Self> {
        let fd = open(0, SockFlag::SOCK_CLOEXEC)?;
        // The kernel answers at once; a driver that hangs must not stop every other link for good.
        setsockopt(&fd, ReceiveTimeout, &TimeVal::new(10, 0))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Asks for a list and gives all of its messages.
    pub fn dump(&mut self, message: &RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut last = io::Error::from(io::ErrorKind::Interrupted);
        for _ in 0..DUMP_ATTEMPTS {
            match self.request(message.clone(), NLM_F_DUMP) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => last = error,
                other => return other,
            }
        }
        Err(last)
    }

    /// Asks for a change and waits until the kernel has made or refused it.
    pub fn change(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.request(message, NLM_F_ACK | flags).map(drop)
    }

    fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        send(self.fd.as_raw_fd(), &bytes, MsgFlags::empty())?;
        self.answers()
    }

    fn answers(&mut self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut answers = Vec::new();
        let mut interrupted = false;
        loop {
            let count = receive(&self.fd, &mut self.buffer)?;
            for (header, payload) in messages(&self.buffer[..count]) {
                if header.sequence_number != self.sequence {
                    continue;
                }
                interrupted |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.message_type {
                    NLMSG_DONE if interrupted => return Err(io::ErrorKind::Interrupted.into()),
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => {
                        let code = payload
                            .get(..4)
                            .and_then(|code| code.try_into().ok())
                            .map_or(0, i32::from_ne_bytes);
                        return if code == 0 {
                            Ok(answers)
                        } else {
                            Err(io::Error::from_raw_os_error(-code))
                        };
                    }
                    // What the parser does not know is newer than it, and not what was asked for.
                    _ => answers.extend(RouteNetlinkMessage::deserialize(&header, payload)),
                }
            }
        }
    }
}

/// Something that only a notification tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Links, addresses or routes are no longer what they were.
    Changed,
    /// Options of a neighbour discovery message (RFC 4861 section 4.6).
    Options {
        /// The link they arrived on.
        link: u32,
        /// One option after the other.
        bytes: Vec<u8>,
    },
    /// A prefix that a router announced.
    Prefix {
        /// The link it arrived on.
        link: u32,
        /// The raw message body.
        bytes: Vec<u8>,
    },
}

/// The socket that hears what changed.
#[derive(Debug)]
pub struct Notifications {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Notifications {
    /// A new socket that hears all groups this program needs.
    pub fn open() -> io::Result<Self> {
        let fd = open(GROUPS, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
        // Hundreds of containers that start at once change hundreds of links; overruns are handled all the same.
        setsockopt(&fd, RcvBuf, &(512 * 1024))?;
        Ok(Self { fd, buffer: vec![0; BUFFER] })
    }

    /// Everything heard since the last call. An overrun counts as a change.
    pub fn drain(&mut self) -> io::Result<Vec<Heard>> {
        let mut heard = Vec::new();
        loop {
            let count = match receive(&self.fd, &mut self.buffer) {
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(heard),
                Err(error) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {
                    heard.push(Heard::Changed);
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (header, payload) in messages(&self.buffer[..count]) {
                let new = match header.message_type {
                    RTM_NEWNDUSEROPT => user_options(payload),
                    RTM_NEWPREFIX => prefix(payload),
                    _ => Some(Heard::Changed),
                };
                // One change says as much as hundreds.
                if let Some(new) = new.filter(|new| *new != Heard::Changed || heard.last() != Some(new)) {
                    heard.push(new);
                }
            }
        }
    }
}

impl AsFd for Notifications {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn open(groups: u32, flags: SockFlag) -> io::Result<OwnedFd> {
    let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
    Ok(fd)
}

/// One datagram of the kernel; those of other processes are dropped.
fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        let (count, sender) = match recvfrom::<NetlinkAddr>(fd.as_raw_fd(), buffer) {
            Err(nix::errno::Errno::EINTR) => continue,
            other => other?,
        };
        if sender.is_some_and(|sender| sender.pid() == 0) {
            return Ok(count);
        }
    }
}

/// The messages of a datagram; whatever is cut short ends it.
fn messages(datagram: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(rest).ok()?;
        let length = usize::try_from(buffer.length()).ok()?;
        let mut header = NetlinkHeader::default();
        header.length = buffer.length();
        header.message_type = buffer.message_type();
        header.flags = buffer.flags();
        header.sequence_number = buffer.sequence_number();
        header.port_number = buffer.port_number();
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// `struct nduseroptmsg` of linux/rtnetlink.h, then the options.
fn user_options(payload: &[u8]) -> Option<Heard> {
    const ROUTER_ADVERTISEMENT: u8 = 134;
    let length = usize::from(u16::from_ne_bytes(payload.get(2..4)?.try_into().ok()?));
    let link = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let is_wanted = payload.first() == Some(&10) && payload.get(8) == Some(&ROUTER_ADVERTISEMENT);
    let bytes = payload.get(16..)?.get(..length)?.to_vec();
    is_wanted.then_some(Heard::Options { link, bytes })
}

fn prefix(payload: &[u8]) -> Option<Heard> {
    let link = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    Some(Heard::Prefix { link, bytes: payload.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_router_advertisement() {
        let mut payload = vec![10, 0, 8, 0, 3, 0, 0, 0, 134, 0, 0, 0, 0, 0, 0, 0];
        payload.extend([25, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(
            user_options(&payload),
            Some(Heard::Options { link: 3, bytes: vec![25, 1, 0, 0, 0, 0, 0, 0] })
        );
        payload[8] = 137;
        assert_eq!(user_options(&payload), None, "a redirect");
        assert_eq!(user_options(&payload[..20]), None, "cut short");
        assert_eq!(user_options(&[]), None);
    }

    #[test]
    fn messages_that_are_cut_short_end_the_datagram() {
        let mut datagram = Vec::new();
        for kind in [16_u16, 17] {
            datagram.extend(20_u32.to_ne_bytes());
            datagram.extend(kind.to_ne_bytes());
            datagram.extend([0; 14]);
        }
        let kinds = |bytes: &[u8]| messages(bytes).map(|(header, _)| header.message_type).collect::<Vec<_>>();
        assert_eq!(kinds(&datagram), [16, 17]);
        assert_eq!(kinds(&datagram[..39]), [16]);
        datagram[0] = 3;
        assert_eq!(kinds(&datagram), [0_u16; 0]);
    }
}
