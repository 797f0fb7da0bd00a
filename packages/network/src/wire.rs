//! Sockets of the DHCP clients, and the frames that they send. Nothing here knows what a lease is.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};

use nix::sys::socket::{LinkAddr, bind, recvfrom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

const ETHERTYPE_IPV4: u16 = 0x0800;
const PROTOCOL_UDP: u8 = 17;
const DHCP4_SERVER: u16 = 67;
const DHCP4_CLIENT: u16 = 68;
const DHCP6_SERVER: u16 = 547;
const DHCP6_CLIENT: u16 = 546;
/// All_DHCP_Relay_Agents_and_Servers (RFC 8415 section 7.1).
const DHCP6_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// No DHCP message is longer than the largest packet of most links; jumbo frames are cut.
const BUFFER: usize = 4096;

/// Hears DHCPv4 servers on one link before it has an address, and speaks to them.
#[derive(Debug)]
pub struct Dhcp4Socket {
    /// Whole Ethernet frames: without an address there is no other way.
    frames: Socket,
    /// Renewals go the ordinary way, through routers where needed. It also keeps the kernel from refusing answers.
    datagrams: Socket,
    link: u32,
    mac: [u8; 6],
}

impl Dhcp4Socket {
    /// Sockets on a link.
    pub fn open(link: u32, name: &str, mac: [u8; 6]) -> io::Result<Self> {
        let protocol = Protocol::from(i32::from(ETHERTYPE_IPV4.to_be()));
        let frames = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        frames.attach_filter(&filter(DHCP4_CLIENT))?;
        frames.set_nonblocking(true)?;
        bind(frames.as_raw_fd(), &link_address(link)?)?;
        let datagrams = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        datagrams.bind_device(Some(name.as_bytes()))?;
        datagrams.set_reuse_address(true)?;
        datagrams.set_broadcast(true)?;
        // What arrives is read from the frames: nothing must pile up here.
        datagrams.attach_filter(&[SockFilter::new(RETURN, 0, 0, 0)])?;
        datagrams.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, DHCP4_CLIENT)).into())?;
        Ok(Self { frames, datagrams, link, mac })
    }

    /// Sends to everybody on the link.
    pub fn broadcast(&self, from: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        self.frames.send(&frame(self.mac, from, message)).map(drop)
    }

    /// Sends to one server.
    pub fn send_to(&self, server: Ipv4Addr, message: &[u8]) -> io::Result<()> {
        self.datagrams.send_to(message, &SocketAddrV4::new(server, DHCP4_SERVER).into()).map(drop)
    }

    /// The next message to the client's port, or nothing.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; BUFFER];
        loop {
            let (count, from) = match recvfrom::<LinkAddr>(self.frames.as_raw_fd(), &mut buffer) {
                Ok(received) => received,
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // Before it was bound, the socket heard every link.
            let is_ours = from.is_some_and(|from| from.ifindex() == self.link as usize);
            if let Some(message) = payload(&buffer[..count]).filter(|_| is_ours) {
                return Ok(Some(message.to_vec()));
            }
        }
    }
}

impl AsFd for Dhcp4Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.as_fd()
    }
}

/// Speaks to DHCPv6 servers on one link.
#[derive(Debug)]
pub struct Dhcp6Socket {
    socket: Socket,
    link: u32,
}

impl Dhcp6Socket {
    /// A socket on a link.
    pub fn open(link: u32, name: &str) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_only_v6(true)?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, DHCP6_CLIENT)).into())?;
        Ok(Self { socket, link })
    }

    /// Sends to all servers and relays of the link.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        let to = SocketAddrV6::new(DHCP6_SERVERS, DHCP6_SERVER, 0, self.link);
        self.socket.send_to(message, &to.into()).map(drop)
    }

    /// The next message, or nothing.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; BUFFER];
        match (&self.socket).read(&mut buffer) {
            Ok(count) => Ok(Some(buffer[..count].to_vec())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Dhcp6Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Asks routers of a link to speak now (RFC 4861 section 6.3.7): a program that starts again has not heard them.
pub fn solicit_routers(link: u32) -> io::Result<()> {
    const ROUTER_SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    // Routers drop what may have come through another router.
    socket.set_multicast_hops_v6(255)?;
    let to = SocketAddrV6::new(ALL_ROUTERS, 0, 0, link);
    socket.send_to(&ROUTER_SOLICITATION, &to.into()).map(drop)
}

/// The kernel's address of a link for packet sockets.
fn link_address(link: u32) -> io::Result<LinkAddr> {
    let all = nix::ifaddrs::getifaddrs()?;
    let links = all.filter_map(|entry| entry.address?.as_link_addr().copied());
    links
        .into_iter()
        .find(|address| address.ifindex() == link as usize)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the link is gone"))
}

/// `BPF_RET | BPF_K`.
const RETURN: u16 = 0x06;

/// A classic BPF program that passes UDP over IPv4, first fragments only, to one port.
fn filter(port: u16) -> [SockFilter; 11] {
    // Codes of linux/bpf_common.h.
    const LOAD_HALF: u16 = 0x28;
    const LOAD_BYTE: u16 = 0x30;
    const LOAD_HEADER_LENGTH: u16 = 0xb1;
    const LOAD_HALF_AFTER_HEADER: u16 = 0x48;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const JUMP_IF_SET: u16 = 0x45;
    [
        SockFilter::new(LOAD_HALF, 0, 0, 12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 8, ETHERTYPE_IPV4.into()),
        SockFilter::new(LOAD_BYTE, 0, 0, 23),
        SockFilter::new(JUMP_IF_EQUAL, 0, 6, PROTOCOL_UDP.into()),
        SockFilter::new(LOAD_HALF, 0, 0, 20),
        SockFilter::new(JUMP_IF_SET, 4, 0, 0x1fff),
        SockFilter::new(LOAD_HEADER_LENGTH, 0, 0, 14),
        SockFilter::new(LOAD_HALF_AFTER_HEADER, 0, 0, 16),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, port.into()),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
}

/// An Ethernet frame to everybody with an IPv4 UDP datagram from the client's port to the server's.
fn frame(mac: [u8; 6], from: Ipv4Addr, message: &[u8]) -> Vec<u8> {
    let length =
        |extra: usize| u16::try_from(message.len() + extra).expect("messages are short").to_be_bytes();
    let mut ip = vec![0x45, 0xc0];
    ip.extend(length(28));
    // No fragments; 64 hops.
    ip.extend([0, 0, 0x40, 0, 64, PROTOCOL_UDP, 0, 0]);
    ip.extend(from.octets());
    ip.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut udp = [DHCP4_CLIENT.to_be_bytes(), DHCP4_SERVER.to_be_bytes(), length(8), [0, 0]].concat();
    udp.extend(message);
    let pseudo = [&ip[12..20], &[0, PROTOCOL_UDP], &length(8)].concat();
    let sum = checksum(&[&pseudo, &udp]);
    // 0 would mean that there is none.
    udp[6..8].copy_from_slice(&if sum == 0 { 0xffff } else { sum }.to_be_bytes());
    [&[0xff; 6], &mac[..], &ETHERTYPE_IPV4.to_be_bytes(), &ip, &udp].concat()
}

/// The UDP payload of a frame to the client's port, when its headers hold together.
///
/// The UDP checksum is not looked at: frames of a server on this machine have none yet (it is left to hardware that
/// they never meet), and the client checks what it takes by the transaction.
fn payload(frame: &[u8]) -> Option<&[u8]> {
    let ip = frame.get(14..)?;
    let header = usize::from(ip.first()? & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
    if ip[0] >> 4 != 4
        || header < 20
        || ip.get(9) != Some(&PROTOCOL_UDP)
        || checksum(&[ip.get(..header)?]) != 0
    {
        return None;
    }
    let udp = ip.get(header..total)?;
    let port = |at: usize| udp.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let is_answer = port(0)? == DHCP4_SERVER && port(2)? == DHCP4_CLIENT;
    let length = usize::from(port(4)?);
    udp.get(8..length).filter(|_| is_answer)
}

/// The Internet checksum (RFC 1071). Every part but the last has an even length.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for part in parts {
        for two in part.chunks(2) {
            sum += u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    !u16::try_from(sum & 0xffff).expect("16 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x52, 0x54, 0, 1, 2, 3];

    /// As a server would send it.
    fn answer(message: &[u8]) -> Vec<u8> {
        let mut frame = frame(MAC, Ipv4Addr::new(192, 0, 2, 1), message);
        frame[34..38].copy_from_slice(&[0, 67, 0, 68]);
        frame
    }

    #[test]
    fn a_frame_is_what_other_hosts_expect() {
        let frame = frame(MAC, Ipv4Addr::UNSPECIFIED, b"abc");
        assert_eq!(checksum(&[&frame[14..34]]), 0, "the header's checksum holds");
        let pseudo = [&frame[26..34], &[0, PROTOCOL_UDP, 0, 11]].concat();
        assert_eq!(checksum(&[&pseudo, &frame[34..]]), 0, "the datagram's checksum holds");
        assert_eq!(frame.len(), 14 + 20 + 8 + 3);
    }

    #[test]
    fn answers_are_read_and_nothing_else() {
        assert_eq!(payload(&answer(b"abc")), Some(&b"abc"[..]));
        let mut padded = answer(b"abc");
        padded.resize(60, 0);
        assert_eq!(payload(&padded), Some(&b"abc"[..]), "Ethernet fills short frames");
        assert_eq!(payload(&frame(MAC, Ipv4Addr::UNSPECIFIED, b"abc")), None, "another client");
        for at in [14, 16, 17, 23, 24] {
            let mut broken = answer(b"abc");
            broken[at] ^= 0x21;
            assert_eq!(payload(&broken), None, "byte {at}");
        }
    }

    #[test]
    fn hostile_frames_are_survived() {
        let mut random = crate::random::Random::from_seed(5);
        for _ in 0..50_000 {
            let mut frame = answer(b"0123456789");
            for _ in 0..3 {
                let at = random.next_u32() as usize % frame.len();
                frame[at] = random.next_u8();
            }
            frame.truncate(random.next_u32() as usize % 60);
            let _ = payload(&frame);
        }
    }
}
