//! Changes of links, addresses and routes as netlink messages.
//!
//! Everything set here carries a protocol number (`IFA_PROTO`, `RTPROT_*`), by which it is known again after a
//! restart and told from what others set.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::link::{
    BondLacpRate, BondMode as KernelMode, BondXmitHashPolicy, BridgeStpState, InfoBond, InfoBridge, InfoData,
    InfoKind, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::netlink::Netlink;
use crate::address::Net;
use crate::settings::{BondMode, TransmitHash, Virtual};

/// Where an address or a route comes from, as the kernel's protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The machine config.
    Static,
    /// DHCPv4 or DHCPv6.
    Dhcp,
}

impl Origin {
    /// `RTPROT_STATIC` or `RTPROT_DHCP` of linux/rtnetlink.h.
    pub fn protocol(self) -> u8 {
        match self {
            Self::Static => 4,
            Self::Dhcp => 16,
        }
    }

    /// The origin with this protocol number; nothing for what others set.
    pub fn from_protocol(protocol: u8) -> Option<Self> {
        [Self::Static, Self::Dhcp].into_iter().find(|origin| origin.protocol() == protocol)
    }
}

/// Seconds that an address may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// For new connections; `u32::MAX` is for ever.
    pub preferred_s: u32,
    /// At all; `u32::MAX` is for ever.
    pub valid_s: u32,
}

impl Lifetimes {
    /// For ever.
    pub const FOREVER: Self = Self { preferred_s: u32::MAX, valid_s: u32::MAX };
}

/// What tells one route of the main table from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    /// Where to; prefix length 0 is the default route.
    pub destination: Net,
    /// Through which router.
    pub gateway: Option<IpAddr>,
    /// Through which link.
    pub link: u32,
    /// Lower is preferred.
    pub metric: u32,
    /// Who set it.
    pub protocol: u8,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Sets an address, or its lifetimes.
    AddAddress {
        /// The link.
        link: u32,
        /// Address and prefix length.
        net: Net,
        /// Where it comes from.
        origin: Origin,
        /// How long it may be used.
        lifetimes: Lifetimes,
    },
    /// Takes an address away.
    RemoveAddress {
        /// The link.
        link: u32,
        /// Address and prefix length.
        net: Net,
    },
    /// Sets a route.
    AddRoute {
        /// The route.
        route: RouteKey,
        /// The router is reached over the link although no address says so.
        is_onlink: bool,
    },
    /// Takes a route away.
    RemoveRoute(RouteKey),
    /// Switches a link on or off.
    SetUp(u32, bool),
    /// Sets the largest packet of a link.
    SetMtu(u32, u32),
    /// Makes a link a member of a bond or a bridge, or of none (0).
    SetController(u32, u32),
    /// Makes a link.
    Create {
        /// Its name.
        name: String,
        /// What it is.
        kind: Virtual,
        /// The link below, for a VLAN.
        parent: Option<u32>,
    },
    /// Takes a link away that this program made.
    Delete(u32),
    /// Says which member a bond prefers.
    SetPrimary {
        /// The bond.
        bond: u32,
        /// The member.
        member: u32,
    },
}

impl Change {
    /// Asks the kernel for it. That it was so before is no error.
    pub fn apply(&self, netlink: &mut Netlink) -> io::Result<()> {
        let (message, flags, harmless) = self.message();
        match netlink.change(message, flags) {
            Err(error) if error.raw_os_error().is_some_and(|code| harmless.contains(&code)) => Ok(()),
            other => other,
        }
    }

    /// The message, its flags, and errors that mean "it is so already".
    fn message(&self) -> (RouteNetlinkMessage, u16, &'static [i32]) {
        use nix::libc::{EADDRNOTAVAIL, EEXIST, ENODEV, ESRCH};
        match self {
            Self::AddAddress { link, net, origin, lifetimes } => {
                let mut message = address(*link, *net);
                message.attributes.push(AddressAttribute::Protocol(origin.protocol().into()));
                let mut info = CacheInfo::default();
                (info.ifa_preferred, info.ifa_valid) = (lifetimes.preferred_s, lifetimes.valid_s);
                message.attributes.push(AddressAttribute::CacheInfo(info));
                (RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE, &[])
            }
            Self::RemoveAddress { link, net } => {
                (RouteNetlinkMessage::DelAddress(address(*link, *net)), 0, &[EADDRNOTAVAIL, ENODEV])
            }
            Self::AddRoute { route: key, is_onlink } => {
                let message = route(key, *is_onlink);
                (RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL, &[EEXIST])
            }
            Self::RemoveRoute(key) => (RouteNetlinkMessage::DelRoute(route(key, false)), 0, &[ESRCH, ENODEV]),
            Self::SetUp(link, is_up) => {
                let mut message = on_link(*link, Vec::new());
                message.header.flags = if *is_up { LinkFlags::Up } else { LinkFlags::empty() };
                message.header.change_mask = LinkFlags::Up;
                (RouteNetlinkMessage::SetLink(message), 0, &[])
            }
            Self::SetMtu(link, mtu) => set_link(*link, LinkAttribute::Mtu(*mtu)),
            Self::SetController(link, controller) => set_link(*link, LinkAttribute::Controller(*controller)),
            Self::Create { name, kind, parent } => {
                let message = create(name, kind, *parent);
                (RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, &[EEXIST])
            }
            Self::Delete(link) => (RouteNetlinkMessage::DelLink(on_link(*link, Vec::new())), 0, &[ENODEV]),
            Self::SetPrimary { bond, member } => {
                let data = LinkInfo::Data(InfoData::Bond(vec![InfoBond::Primary(*member)]));
                let parts = vec![LinkInfo::Kind(InfoKind::Bond), data];
                let message = on_link(*bond, vec![LinkAttribute::LinkInfo(parts)]);
                (RouteNetlinkMessage::NewLink(message), 0, &[])
            }
        }
    }
}

fn on_link(index: u32, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    message
}

fn set_link(link: u32, attribute: LinkAttribute) -> (RouteNetlinkMessage, u16, &'static [i32]) {
    (RouteNetlinkMessage::SetLink(on_link(link, vec![attribute])), 0, &[])
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

fn address(link: u32, net: Net) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(net.address);
    message.header.prefix_len = net.prefix;
    message.header.scope = AddressScope::Universe;
    message.header.index = link;
    message.attributes = vec![AddressAttribute::Local(net.address), AddressAttribute::Address(net.address)];
    if let IpAddr::V4(address) = net.address
        && net.prefix < 31
    {
        let broadcast = u32::from(address) | (u32::MAX >> net.prefix);
        message.attributes.push(AddressAttribute::Broadcast(broadcast.into()));
    }
    message
}

fn route(key: &RouteKey, is_onlink: bool) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family(key.destination.address);
    header.destination_prefix_length = key.destination.prefix;
    header.table = netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN;
    header.protocol = key.protocol.into();
    header.kind = RouteType::Unicast;
    let is_direct_v4 = key.gateway.is_none() && key.destination.address.is_ipv4();
    header.scope = if is_direct_v4 { RouteScope::Link } else { RouteScope::Universe };
    if is_onlink {
        header.flags = RouteFlags::Onlink;
    }
    if !key.destination.is_default() {
        message.attributes.push(RouteAttribute::Destination(key.destination.address.into()));
    }
    message.attributes.extend(key.gateway.map(|gateway| RouteAttribute::Gateway(gateway.into())));
    message.attributes.push(RouteAttribute::Oif(key.link));
    message.attributes.push(RouteAttribute::Priority(key.metric));
    message
}

fn create(name: &str, kind: &Virtual, parent: Option<u32>) -> LinkMessage {
    let (kernel_kind, data) = match kind {
        Virtual::Vlan { id, .. } => (InfoKind::Vlan, InfoData::Vlan(vec![InfoVlan::Id(*id)])),
        Virtual::Bond { mode, miimon, lacp_fast, hash, .. } => {
            let kernel_mode = match mode {
                BondMode::ActiveBackup => KernelMode::ActiveBackup,
                BondMode::Lacp => KernelMode::Ieee8023Ad,
            };
            let mut data = vec![InfoBond::Mode(kernel_mode), InfoBond::MiiMon(*miimon)];
            if *mode == BondMode::Lacp {
                let rate = if *lacp_fast { BondLacpRate::Fast } else { BondLacpRate::Slow };
                data.push(InfoBond::AdLacpRate(rate));
            }
            data.extend(hash.map(|hash| {
                InfoBond::XmitHashPolicy(match hash {
                    TransmitHash::Layer2 => BondXmitHashPolicy::Layer2,
                    TransmitHash::Layer23 => BondXmitHashPolicy::Layer23,
                    TransmitHash::Layer34 => BondXmitHashPolicy::Layer34,
                })
            }));
            (InfoKind::Bond, InfoData::Bond(data))
        }
        Virtual::Bridge { stp, .. } => {
            let state = if *stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled };
            // Without a spanning tree there is no loop to listen for: ports forward at once.
            let delay = if *stp { 1500 } else { 0 };
            let data = vec![InfoBridge::ForwardDelay(delay), InfoBridge::StpState(state)];
            (InfoKind::Bridge, InfoData::Bridge(data))
        }
    };
    let mut attributes = vec![LinkAttribute::IfName(name.to_owned())];
    attributes.extend(parent.map(LinkAttribute::Link));
    attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kernel_kind), LinkInfo::Data(data)]));
    on_link(0, attributes)
}
