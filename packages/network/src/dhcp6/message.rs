//! DHCPv6 messages as bytes (RFC 8415 sections 8 and 21, RFC 3646, 5908 and 4075).

use std::net::Ipv6Addr;

use crate::resolv;

/// Numbers of the options that this client knows.
pub mod option {
    #![expect(missing_docs, reason = "the names are those of RFC 8415 and its companions")]
    pub const CLIENT_ID: u16 = 1;
    pub const SERVER_ID: u16 = 2;
    pub const IA_NA: u16 = 3;
    pub const IA_ADDRESS: u16 = 5;
    pub const REQUEST: u16 = 6;
    pub const PREFERENCE: u16 = 7;
    pub const ELAPSED: u16 = 8;
    pub const STATUS: u16 = 13;
    pub const RAPID_COMMIT: u16 = 14;
    pub const DNS: u16 = 23;
    pub const SEARCH: u16 = 24;
    pub const SNTP: u16 = 31;
    pub const REFRESH_TIME: u16 = 32;
    pub const NTP: u16 = 56;
}

/// Message types (RFC 8415 section 7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Who has an address for me?
    Solicit = 1,
    /// I have.
    Advertise = 2,
    /// Then I take it.
    Request = 3,
    /// Am I still on the same link?
    Confirm = 4,
    /// More time, please.
    Renew = 5,
    /// More time, please, from anybody.
    Rebind = 6,
    /// Here you are.
    Reply = 7,
    /// I need it no more.
    Release = 8,
    /// Another host has it.
    Decline = 9,
    /// Everything but an address, please.
    InformationRequest = 11,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Solicit,
        Self::Advertise,
        Self::Request,
        Self::Confirm,
        Self::Renew,
        Self::Rebind,
        Self::Reply,
        Self::Release,
        Self::Decline,
        Self::InformationRequest,
    ];
}

/// Status codes that this client tells apart (RFC 8415 section 21.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well; also when there is no status.
    Success,
    /// No address is left.
    NoAddresses,
    /// The server does not know the lease.
    NoBinding,
    /// The address belongs to another link.
    NotOnLink,
    /// Any other.
    Failed,
}

/// Options in the order of the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(u16, Vec<u8>)>);

/// A message of a client or a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it says.
    pub kind: Kind,
    /// The transaction, 24 bits.
    pub xid: u32,
    /// Its options.
    pub options: Options,
}

/// An address within an IA_NA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IaAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Seconds for new connections.
    pub preferred_s: u32,
    /// Seconds at all.
    pub valid_s: u32,
}

/// An identity association for addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IaNa {
    /// Its number at the client.
    pub iaid: u32,
    /// Seconds until renewal; 0 leaves it to the client.
    pub t1_s: u32,
    /// Seconds until rebinding; 0 leaves it to the client.
    pub t2_s: u32,
    /// Addresses that can be used.
    pub addresses: Vec<IaAddress>,
    /// How the server answered for it.
    pub status: Status,
}

impl Message {
    /// Reads a message of a client or server; nothing for relays' messages and what is none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_at_checked(4)?;
        let kind = Kind::ALL.into_iter().find(|kind| *kind as u8 == head[0])?;
        let xid = u32::from_be_bytes([0, head[1], head[2], head[3]]);
        Some(Self { kind, xid, options: Options::parse(rest)? })
    }

    /// The message as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.xid.to_be_bytes().to_vec();
        bytes[0] = self.kind as u8;
        self.options.write(&mut bytes);
        bytes
    }
}

impl Options {
    /// Reads options; nothing when one is cut short.
    pub fn parse(mut rest: &[u8]) -> Option<Self> {
        let mut options = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (value, after) = after.split_at_checked(length)?;
            options.push((u16::from_be_bytes([head[0], head[1]]), value.to_vec()));
            rest = after;
        }
        Some(Self(options))
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for (number, value) in &self.0 {
            let length = u16::try_from(value.len()).expect("options of this client are short");
            bytes.extend(number.to_be_bytes());
            bytes.extend(length.to_be_bytes());
            bytes.extend(value);
        }
    }

    /// Adds an option at the end.
    pub fn push(&mut self, number: u16, value: Vec<u8>) {
        self.0.push((number, value));
    }

    /// The first option with this number.
    pub fn get(&self, number: u16) -> Option<&[u8]> {
        self.all(number).next()
    }

    fn all(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(known, _)| *known == number).map(|(_, value)| value.as_slice())
    }

    /// The status; success when there is none.
    pub fn status(&self) -> Status {
        match self.get(option::STATUS).map(|value| value.get(..2)) {
            None | Some(Some([0, 0])) => Status::Success,
            Some(Some([0, 2])) => Status::NoAddresses,
            Some(Some([0, 3])) => Status::NoBinding,
            Some(Some([0, 4])) => Status::NotOnLink,
            _ => Status::Failed,
        }
    }

    /// The identity association with this number.
    pub fn ia_na(&self, iaid: u32) -> Option<IaNa> {
        self.all(option::IA_NA).find_map(IaNa::parse).filter(|ia| ia.iaid == iaid)
    }

    /// Addresses of an option that lists them.
    pub fn addresses(&self, number: u16) -> Vec<Ipv6Addr> {
        let chunks = self.all(number).flat_map(|value| value.chunks_exact(16));
        let addresses = chunks.filter_map(|sixteen| <[u8; 16]>::try_from(sixteen).ok()).map(Ipv6Addr::from);
        addresses.filter(|address| !address.is_unspecified() && !address.is_multicast()).collect()
    }

    /// Domains to search.
    pub fn search(&self) -> Vec<String> {
        self.get(option::SEARCH).map_or_else(Vec::new, resolv::labels)
    }

    /// NTP servers: addresses of option 56 (RFC 5908), else those of option 31.
    pub fn ntp(&self) -> Vec<Ipv6Addr> {
        const SERVER_ADDRESS: u16 = 1;
        let mut servers = Vec::new();
        for value in self.all(option::NTP) {
            servers.extend(Self::parse(value).into_iter().flat_map(|inner| inner.addresses(SERVER_ADDRESS)));
        }
        if servers.is_empty() { self.addresses(option::SNTP) } else { servers }
    }
}

impl IaNa {
    /// As the value of an option.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [self.iaid, self.t1_s, self.t2_s].map(u32::to_be_bytes).concat();
        let mut inner = Options::default();
        for address in &self.addresses {
            let mut value = address.address.octets().to_vec();
            value.extend(address.preferred_s.to_be_bytes());
            value.extend(address.valid_s.to_be_bytes());
            inner.push(option::IA_ADDRESS, value);
        }
        inner.write(&mut bytes);
        bytes
    }

    fn parse(value: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u32::from_be_bytes(value.get(at..at + 4)?.try_into().ok()?));
        let (iaid, t1_s, t2_s) = (number(0)?, number(4)?, number(8)?);
        let inner = Options::parse(&value[12..])?;
        let addresses = inner.all(option::IA_ADDRESS).filter_map(IaAddress::parse).collect();
        // RFC 8415 section 21.4: such an association is to be ignored.
        if t1_s > t2_s && t2_s > 0 {
            return None;
        }
        Some(Self { iaid, t1_s, t2_s, addresses, status: inner.status() })
    }
}

impl IaAddress {
    fn parse(value: &[u8]) -> Option<Self> {
        let address = Ipv6Addr::from(<[u8; 16]>::try_from(value.get(..16)?).ok()?);
        let preferred_s = u32::from_be_bytes(value.get(16..20)?.try_into().ok()?);
        let valid_s = u32::from_be_bytes(value.get(20..24)?.try_into().ok()?);
        let is_usable = !address.is_unspecified() && !address.is_multicast() && !address.is_loopback();
        let status = Options::parse(&value[24..])?.status();
        // RFC 8415 section 21.6: the first condition makes it invalid.
        (preferred_s <= valid_s && is_usable && status == Status::Success).then_some(Self {
            address,
            preferred_s,
            valid_s,
        })
    }
}
