//! What the kernel has: links, addresses and the routes of the main table.

use std::io;
use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, Inet6IfaceFlags, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
    LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::change::RouteKey;
use super::netlink::Netlink;
use crate::address::Net;

/// The main routing table (`RT_TABLE_MAIN`).
const MAIN: u32 = 254;

/// All of it at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By index.
    pub links: Vec<Link>,
    /// Of every link.
    pub addresses: Vec<Address>,
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its number, never used again for another link.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its hardware address, where it has one of 6 bytes.
    pub mac: Option<[u8; 6]>,
    /// Whether it is switched on.
    pub is_up: bool,
    /// Whether a cable is plugged in, or what that means for its kind.
    pub has_carrier: bool,
    /// How often the cable was pulled: a short while without it is seen by this alone.
    pub carrier_downs: u32,
    /// Whether it carries Ethernet frames.
    pub is_ethernet: bool,
    /// What made it, such as `vlan`; nothing for hardware.
    pub kind: Option<String>,
    /// The bond or bridge it belongs to.
    pub controller: Option<u32>,
    /// Largest packet in bytes.
    pub mtu: u32,
    /// What routers said.
    pub router: RouterFlags,
}

/// Flags of the last router advertisement of a link (RFC 4861 section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterFlags {
    /// There was one.
    pub is_heard: bool,
    /// Addresses come by DHCPv6.
    pub managed: bool,
    /// Other configuration comes by DHCPv6.
    pub other: bool,
}

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The link.
    pub link: u32,
    /// Address and prefix length.
    pub net: Net,
    /// Who set it (`IFA_PROTO`); 0 is unknown.
    pub protocol: u8,
    /// Seconds for which new connections use it; `u32::MAX` is for ever.
    pub preferred_s: u32,
    /// Seconds until it goes; `u32::MAX` is for ever.
    pub valid_s: u32,
    /// Duplicate address detection runs.
    pub is_tentative: bool,
    /// Another host has it.
    pub is_duplicate: bool,
}

impl Snapshot {
    /// Asks the kernel for links and addresses.
    pub fn read(netlink: &mut Netlink) -> io::Result<Self> {
        let links = netlink.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
        let addresses = netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
        let mut snapshot = Self::default();
        for message in links.into_iter().chain(addresses) {
            match message {
                RouteNetlinkMessage::NewLink(message) => snapshot.links.push(link(message)),
                RouteNetlinkMessage::NewAddress(message) => snapshot.addresses.extend(address(&message)),
                _ => {}
            }
        }
        snapshot.links.sort_by_key(|link| link.index);
        Ok(snapshot)
    }

    /// The link with this name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.iter().find(|link| link.name == name)
    }

    /// Addresses of a link.
    pub fn addresses_of(&self, link: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.link == link)
    }

    /// Routes of the main table that programs such as this one set.
    pub fn routes(netlink: &mut Netlink) -> io::Result<Vec<RouteKey>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            for message in netlink.dump(&RouteNetlinkMessage::GetRoute(request))? {
                if let RouteNetlinkMessage::NewRoute(message) = message {
                    routes.extend(route(&message));
                }
            }
        }
        Ok(routes)
    }
}

fn link(message: LinkMessage) -> Link {
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        is_up: flags.contains(LinkFlags::Up),
        has_carrier: flags.contains(LinkFlags::LowerUp) && flags.contains(LinkFlags::Running),
        is_ethernet: message.header.link_layer_type == LinkLayerType::Ether,
        ..Link::default()
    };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Address(bytes) => link.mac = bytes.try_into().ok(),
            LinkAttribute::CarrierDownCount(count) => link.carrier_downs = count,
            LinkAttribute::Controller(index) => link.controller = Some(index),
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::LinkInfo(parts) => {
                link.kind = parts.into_iter().find_map(|part| match part {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::AfSpecUnspec(families) => link.router = router_flags(&families),
            _ => {}
        }
    }
    link
}

fn router_flags(families: &[AfSpecUnspec]) -> RouterFlags {
    let inet6 = families.iter().find_map(|family| match family {
        AfSpecUnspec::Inet6(parts) => Some(parts),
        _ => None,
    });
    let flags = inet6.into_iter().flatten().find_map(|part| match part {
        AfSpecInet6::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(Inet6IfaceFlags::empty());
    RouterFlags {
        is_heard: flags.contains(Inet6IfaceFlags::RaRcvd),
        managed: flags.contains(Inet6IfaceFlags::RaManaged),
        other: flags.contains(Inet6IfaceFlags::Otherconf),
    }
}

fn address(message: &AddressMessage) -> Option<Address> {
    let (mut local, mut remote) = (None, None);
    let (mut protocol, mut preferred_s, mut valid_s) = (0, u32::MAX, u32::MAX);
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => remote = Some(*address),
            AddressAttribute::Protocol(value) => protocol = u8::from(*value),
            AddressAttribute::Flags(value) => flags = *value,
            AddressAttribute::CacheInfo(info) => {
                (preferred_s, valid_s) = (info.ifa_preferred, info.ifa_valid);
            }
            _ => {}
        }
    }
    Some(Address {
        link: message.header.index,
        net: Net { address: local.or(remote)?, prefix: message.header.prefix_len },
        protocol,
        preferred_s,
        valid_s,
        is_tentative: flags.contains(AddressFlags::Tentative),
        is_duplicate: flags.contains(AddressFlags::Dadfailed),
    })
}

fn route(message: &RouteMessage) -> Option<RouteKey> {
    let header: &RouteHeader = &message.header;
    let mut table = u32::from(header.table);
    let mut key = RouteKey {
        destination: Net {
            address: unspecified(header.address_family)?,
            prefix: header.destination_prefix_length,
        },
        gateway: None,
        link: 0,
        metric: 0,
        protocol: header.protocol.into(),
    };
    if header.kind != RouteType::Unicast {
        return None;
    }
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Table(value) => table = *value,
            RouteAttribute::Destination(address) => key.destination.address = ip(address)?,
            RouteAttribute::Gateway(address) => key.gateway = ip(address),
            RouteAttribute::Oif(index) => key.link = *index,
            RouteAttribute::Priority(metric) => key.metric = *metric,
            _ => {}
        }
    }
    (table == MAIN && key.link != 0).then_some(key)
}

fn unspecified(family: AddressFamily) -> Option<IpAddr> {
    match family {
        AddressFamily::Inet => Some(IpAddr::from([0; 4])),
        AddressFamily::Inet6 => Some(IpAddr::from([0; 16])),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}
