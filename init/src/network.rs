//! The little network that PID 1 does itself: the loopback interface, and a list of addresses for the report.
//!
//! Nothing here waits for an answer from outside; links, addresses and names belong to the network service.

use std::io;
use std::net::IpAddr;

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `RTM_NEWLINK`, `NLM_F_REQUEST | NLM_F_ACK` and `NLMSG_ERROR` of netlink(7) and rtnetlink(7).
const RTM_NEWLINK: u16 = 16;
const REQUEST_ACK: u16 = 1 | 4;
const NLMSG_ERROR: u16 = 2;
/// The kernel gives its first interface, loopback, this index in every network namespace.
const LOOPBACK: i32 = 1;
const IFF_UP: u32 = 1;

/// Switches the loopback interface on; the kernel then gives it 127.0.0.1 and ::1.
pub fn raise_loopback() -> io::Result<()> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Protocol 0 of this family is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
    send(&socket, &raise_message(), SendFlags::empty())?;
    // The kernel has answered before send returns.
    let mut answer = [0; 128];
    let (_, length) = recv(&socket, &mut answer, RecvFlags::empty())?;
    answer_of(answer.get(..length).unwrap_or_default())
}

/// A link message: `nlmsghdr` (length, type, flags, sequence, port) and `ifinfomsg` (family, pad, type, index,
/// flags, mask of changed flags), in the byte order of the machine.
fn raise_message() -> [u8; 32] {
    let mut message = [0; 32];
    message[..4].copy_from_slice(&32_u32.to_ne_bytes());
    message[4..6].copy_from_slice(&RTM_NEWLINK.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST_ACK.to_ne_bytes());
    message[20..24].copy_from_slice(&LOOPBACK.to_ne_bytes());
    message[24..28].copy_from_slice(&IFF_UP.to_ne_bytes());
    message[28..32].copy_from_slice(&IFF_UP.to_ne_bytes());
    message
}

/// The result in an `nlmsgerr`: a negative errno after the header, 0 for success.
fn answer_of(answer: &[u8]) -> io::Result<()> {
    let (Some([a, b]), Some([c, d, e, f])) = (answer.get(4..6), answer.get(16..20)) else {
        return Err(Errno::BADMSG.into());
    };
    match (u16::from_ne_bytes([*a, *b]), i32::from_ne_bytes([*c, *d, *e, *f])) {
        (NLMSG_ERROR, 0) => Ok(()),
        (NLMSG_ERROR, errno) => Err(io::Error::from_raw_os_error(errno.saturating_neg())),
        _ => Err(Errno::BADMSG.into()),
    }
}

/// The addresses other hosts can reach this one at, IPv4 before IPv6, each once.
pub fn addresses() -> Vec<String> {
    let mut addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .into_iter()
        .flatten()
        .filter_map(|interface| interface.address)
        .filter_map(|address| match address.as_sockaddr_in() {
            Some(v4) => Some(v4.ip().into()),
            None => address.as_sockaddr_in6().map(|v6| v6.ip().into()),
        })
        .filter(is_reachable)
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.iter().map(ToString::to_string).collect()
}

/// Neither this host only (127.0.0.0/8, ::1) nor this link only (169.254.0.0/16, fe80::/10).
fn is_reachable(address: &IpAddr) -> bool {
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(link_local || address.is_loopback() || address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let answer = |kind: u16, errno: i32| {
            let mut bytes = vec![0; 36];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes[16..20].copy_from_slice(&errno.to_ne_bytes());
            bytes
        };
        assert!(answer_of(&answer(2, 0)).is_ok());
        assert_eq!(answer_of(&answer(2, -1)).unwrap_err().raw_os_error(), Some(1));
        assert_eq!(answer_of(&answer(3, 0)).unwrap_err().raw_os_error(), Some(Errno::BADMSG.raw_os_error()));
        assert!(answer_of(&[0; 10]).is_err());
    }

    #[test]
    fn reachable_addresses() {
        for (text, expected) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("2001:db8::1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("169.254.1.1", false),
            ("0.0.0.0", false),
            ("::1", false),
            ("fe80::1", false),
        ] {
            assert_eq!(is_reachable(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
