//! DHCPv4 messages as bytes (RFC 2131 section 2, options of RFC 2132, 3396, 3397 and 3442).
//!
//! Options are kept as bytes by number: a malformed one is missing, and spoils no other.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use crate::address::Net;
use crate::resolv;

/// Where options begin: the fixed part and the magic cookie.
const OPTIONS: usize = 240;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Relays may drop shorter messages (RFC 1542 section 2.1).
const SHORTEST: usize = 300;
const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;

/// Numbers of the options that this client knows.
pub mod option {
    #![expect(missing_docs, reason = "the names are those of RFC 2132 and its successors")]
    pub const SUBNET_MASK: u8 = 1;
    pub const ROUTER: u8 = 3;
    pub const DNS: u8 = 6;
    pub const HOST_NAME: u8 = 12;
    pub const DOMAIN_NAME: u8 = 15;
    pub const MTU: u8 = 26;
    pub const NTP: u8 = 42;
    pub const REQUESTED_ADDRESS: u8 = 50;
    pub const LEASE_TIME: u8 = 51;
    pub const OVERLOAD: u8 = 52;
    pub const MESSAGE_TYPE: u8 = 53;
    pub const SERVER_ID: u8 = 54;
    pub const PARAMETERS: u8 = 55;
    pub const LARGEST_MESSAGE: u8 = 57;
    pub const RENEWAL_TIME: u8 = 58;
    pub const REBINDING_TIME: u8 = 59;
    pub const CLIENT_ID: u8 = 61;
    pub const DOMAIN_SEARCH: u8 = 119;
    pub const CLASSLESS_ROUTES: u8 = 121;
}

/// Message types (RFC 2132 section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Who has an address for me?
    Discover,
    /// I have.
    Offer,
    /// Then I take it.
    Request,
    /// I have something against it.
    Decline,
    /// It is yours.
    Ack,
    /// It is not.
    Nak,
    /// I need it no more.
    Release,
}

impl Kind {
    const ALL: [(u8, Self); 7] = [
        (1, Self::Discover),
        (2, Self::Offer),
        (3, Self::Request),
        (4, Self::Decline),
        (5, Self::Ack),
        (6, Self::Nak),
        (7, Self::Release),
    ];
}

/// A message of a client or a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whether a server sent it.
    pub is_reply: bool,
    /// The transaction.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// The address that the client has.
    pub ciaddr: Ipv4Addr,
    /// The address that the client gets.
    pub yiaddr: Ipv4Addr,
    /// The client's hardware address.
    pub mac: [u8; 6],
    /// Options by number.
    pub options: BTreeMap<u8, Vec<u8>>,
}

impl Message {
    /// A message of a client.
    pub fn request(kind: Kind, xid: u32, mac: [u8; 6]) -> Self {
        let mut message = Self {
            is_reply: false,
            xid,
            secs: 0,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            mac,
            options: BTreeMap::new(),
        };
        message.set_kind(kind);
        message
    }

    /// Sets the message type.
    pub fn set_kind(&mut self, kind: Kind) {
        let number = Kind::ALL.iter().find(|(_, known)| *known == kind).map_or(0, |(number, _)| *number);
        self.options.insert(option::MESSAGE_TYPE, vec![number]);
    }

    /// The message type.
    pub fn kind(&self) -> Option<Kind> {
        let number = self.fixed::<1>(option::MESSAGE_TYPE)?[0];
        Kind::ALL.iter().find(|(known, _)| *known == number).map(|(_, kind)| *kind)
    }

    /// Reads a message; nothing when it is none, or none for Ethernet.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fixed = bytes.get(..OPTIONS)?;
        let is_reply = match fixed[0] {
            BOOT_REQUEST => false,
            BOOT_REPLY => true,
            _ => return None,
        };
        if fixed[1] != 1 || fixed[2] != 6 || fixed[236..] != COOKIE {
            return None;
        }
        let four = |at: usize| -> [u8; 4] { fixed[at..at + 4].try_into().expect("four bytes") };
        let mut options = BTreeMap::new();
        parse_options(&bytes[OPTIONS..], &mut options);
        // Option 52: the fields for the server's name and the boot file hold options too.
        match options.get(&option::OVERLOAD).map(Vec::as_slice) {
            Some([1]) => parse_options(&fixed[108..236], &mut options),
            Some([2]) => parse_options(&fixed[44..108], &mut options),
            Some([3]) => {
                parse_options(&fixed[108..236], &mut options);
                parse_options(&fixed[44..108], &mut options);
            }
            _ => {}
        }
        Some(Self {
            is_reply,
            xid: u32::from_be_bytes(four(4)),
            secs: u16::from_be_bytes([fixed[8], fixed[9]]),
            ciaddr: four(12).into(),
            yiaddr: four(16).into(),
            mac: fixed[28..34].try_into().expect("six bytes"),
            options,
        })
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[0] = if self.is_reply { BOOT_REPLY } else { BOOT_REQUEST };
        // Ethernet, with addresses of 6 bytes.
        bytes[1..3].copy_from_slice(&[1, 6]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.secs.to_be_bytes());
        bytes[12..16].copy_from_slice(&self.ciaddr.octets());
        bytes[16..20].copy_from_slice(&self.yiaddr.octets());
        bytes[28..34].copy_from_slice(&self.mac);
        bytes[236..].copy_from_slice(&COOKIE);
        // Some servers want the message type first.
        let kind = self.options.get_key_value(&option::MESSAGE_TYPE);
        let others = self.options.iter().filter(|(number, _)| **number != option::MESSAGE_TYPE);
        for (number, value) in kind.into_iter().chain(others) {
            for part in value.chunks(255) {
                bytes.push(*number);
                bytes.push(u8::try_from(part.len()).expect("parts have at most 255 bytes"));
                bytes.extend(part);
            }
        }
        bytes.push(255);
        bytes.resize(bytes.len().max(SHORTEST), 0);
        bytes
    }

    /// An option of exactly `N` bytes.
    pub fn fixed<const N: usize>(&self, number: u8) -> Option<[u8; N]> {
        self.options.get(&number)?.as_slice().try_into().ok()
    }

    /// An option that is one address.
    pub fn address(&self, number: u8) -> Option<Ipv4Addr> {
        self.fixed::<4>(number).map(Ipv4Addr::from).filter(|address| !address.is_unspecified())
    }

    /// An option that is a number of seconds.
    pub fn seconds(&self, number: u8) -> Option<u32> {
        self.fixed(number).map(u32::from_be_bytes)
    }

    /// An option that is a list of addresses.
    pub fn addresses(&self, number: u8) -> Vec<Ipv4Addr> {
        let bytes = self.options.get(&number).map_or(&[][..], Vec::as_slice);
        let addresses = bytes.chunks_exact(4).map(|four| Ipv4Addr::new(four[0], four[1], four[2], four[3]));
        addresses.filter(|address| !address.is_unspecified() && !address.is_multicast()).collect()
    }

    /// An option that is a domain or host name.
    pub fn name(&self, number: u8) -> Option<String> {
        let text = std::str::from_utf8(self.options.get(&number)?).ok()?;
        resolv::domain(text.trim_end_matches('\0'))
    }

    /// Domains to search: option 119, else option 15.
    pub fn search(&self) -> Vec<String> {
        let listed =
            self.options.get(&option::DOMAIN_SEARCH).map_or_else(Vec::new, |bytes| resolv::labels(bytes));
        if listed.is_empty() { self.name(option::DOMAIN_NAME).into_iter().collect() } else { listed }
    }

    /// Routes of option 121 (RFC 3442): destination and router, which is unspecified for networks on the link.
    pub fn classless_routes(&self) -> Option<Vec<(Net, Ipv4Addr)>> {
        let mut rest = self.options.get(&option::CLASSLESS_ROUTES)?.as_slice();
        let mut routes = Vec::new();
        while let Some((&prefix, after)) = rest.split_first() {
            let length = usize::from(prefix).div_ceil(8);
            // A list that is not understood to its end is not used at all.
            let (destination, after) = after.split_at_checked(length).filter(|_| prefix <= 32)?;
            let (router, after) = after.split_at_checked(4)?;
            let mut octets = [0; 4];
            octets[..length].copy_from_slice(destination);
            let net = Net { address: Ipv4Addr::from(octets).into(), prefix }.network();
            routes.push((net, Ipv4Addr::new(router[0], router[1], router[2], router[3])));
            rest = after;
        }
        Some(routes)
    }
}

/// Adds what is in `bytes`; a repeated option goes on where the first ended (RFC 3396).
fn parse_options(bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) {
    let mut rest = bytes;
    while let Some((&number, after)) = rest.split_first() {
        match number {
            0 => rest = after,
            255 => return,
            _ => {
                let Some((&length, after)) = after.split_first() else { return };
                let Some((value, after)) = after.split_at_checked(usize::from(length)) else { return };
                options.entry(number).or_default().extend(value);
                rest = after;
            }
        }
    }
}
