//! `[network]`: links, addresses, routes and names.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::address::{Cidr, Destination, Mac, Target};
use crate::field::{Place, Reader, plain_fields};
use crate::names::{Domain, LinkName, LinkRef};
use crate::table::{Check, table};
use crate::text::number_type;

/// The least MTU with which a link carries IPv6 (RFC 8200 section 5).
const MIN_IPV6_MTU: u16 = 1280;

number_type!(
    /// Largest packet of a link, in bytes: 68 (the least of IPv4, RFC 791) to 65535.
    Mtu(u16), 68..=65535
);

number_type!(
    /// Number of a VLAN (IEEE 802.1Q).
    VlanId(u16), 1..=4094
);

table! {
    /// The network of the host.
    #[derive(Default)]
    struct Network {
        required {}
        optional {
            /// DNS servers, asked in this order; they come before those that DHCP and router advertisements give.
            dns: Vec<IpAddr>,
            /// Domains in which names without dots are looked up.
            search: Vec<Domain>,
            /// Network links. Without any, every wired link asks for addresses (DHCPv4, router advertisements, DHCPv6).
            links: Vec<Link>,
        }
    }
}

impl Check for Network {
    fn check(mut self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let mut members = BTreeSet::new();
        for link in &mut self.links {
            let bond = link.bond.as_mut().map(|bond| &mut bond.members);
            let bridge = link.bridge.as_mut().map(|bridge| &mut bridge.members);
            for list in bond.into_iter().chain(bridge) {
                list.retain(|member| {
                    let is_free = members.insert(member.clone());
                    if !is_free {
                        let message = format!("{member} is a member of two links; the first one keeps it");
                        reader.report(place.offset, place.key, message);
                    }
                    is_free
                });
            }
        }
        Some(self)
    }
}

table! {
    /// One network link: one that is there, chosen by `match`, or one to make, with a `name` and one of `vlan`, `bond`
    /// and `bridge`.
    #[derive(Default)]
    struct Link {
        required {}
        optional {
            /// Which link or links this is about.
            r#match: Option<Match>,
            /// Name of a link to make.
            name: Option<LinkName>,
            /// Families that ask for addresses by DHCP. Without this key: `both` when there are no addresses, else `none`.
            dhcp: Option<Dhcp>,
            /// Whether router advertisements give IPv6 addresses and routes. Without this key: yes, unless there are IPv6
            /// addresses.
            accept_ra: Option<bool>,
            /// Addresses with prefix lengths.
            addresses: Vec<Cidr>,
            /// Default routers, at most one of each family is used at a time, the first first.
            gateways: Vec<IpAddr>,
            /// Further routes.
            routes: Vec<Route>,
            /// DNS servers that are reached through this link.
            dns: Vec<IpAddr>,
            /// Domains in which names without dots are looked up.
            search: Vec<Domain>,
            /// Largest packet, in bytes. Without this key: what DHCP or router advertisements say, else the driver's.
            mtu: Option<Mtu>,
            /// The link to make is a VLAN.
            vlan: Option<Vlan>,
            /// The link to make bundles others.
            bond: Option<Bond>,
            /// The link to make joins others as a switch does.
            bridge: Option<Bridge>,
        }
    }
}

table! {
    /// A choice of links that are there; all keys that are given must hold.
    #[derive(Default)]
    struct Match {
        required {}
        optional {
            /// The kernel's name, `eth0`.
            name: Option<LinkName>,
            /// The hardware address.
            mac: Option<Mac>,
            /// Name of the driver, `virtio_net`.
            driver: Option<String>,
        }
    }
}

table! {
    /// A route.
    struct Route {
        required {
            /// The network it leads to, or `default`.
            to: Destination,
        }
        optional {
            /// The router; without one the network is on the link itself.
            via: Option<IpAddr>,
            /// Of two routes to one network the one with the lower metric is used.
            metric: Option<u32>,
        }
    }
}

table! {
    /// A VLAN.
    struct Vlan {
        required {
            /// Number of the VLAN.
            id: VlanId,
            /// The link that carries it.
            parent: LinkRef,
        }
        optional {}
    }
}

table! {
    /// A bundle of links.
    struct Bond {
        required {
            /// The links in it.
            members: Vec<LinkRef>,
        }
        optional {
            /// How the members share the work. Without this key: `active-backup`.
            mode: Option<BondMode>,
            /// Milliseconds between two looks at the members' carrier. Without this key: 100.
            miimon_ms: Option<u32>,
            /// The member that is used while it works; only with `active-backup`.
            primary: Option<LinkRef>,
            /// How often partners exchange LACP packets; only with `802.3ad`.
            lacp_rate: Option<LacpRate>,
            /// What decides over the member that sends a packet; only with `802.3ad`.
            transmit_hash: Option<TransmitHash>,
        }
    }
}

table! {
    /// A software switch.
    struct Bridge {
        required {
            /// The links in it.
            members: Vec<LinkRef>,
        }
        optional {
            /// Whether it takes part in the spanning tree protocol. Without this key: no.
            stp: Option<bool>,
        }
    }
}

/// Families that ask for addresses by DHCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum Dhcp {
    /// DHCPv4 only.
    V4,
    /// DHCPv6 only, as router advertisements ask for it.
    V6,
    /// DHCPv4, and DHCPv6 as router advertisements ask for it.
    Both,
    /// No DHCP.
    None,
}

/// How the members of a bond share the work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum BondMode {
    /// One works, the others wait.
    #[default]
    ActiveBackup,
    /// Link aggregation with a switch (LACP).
    #[serde(rename = "802.3ad")]
    Lacp,
}

/// How often partners of a bond exchange LACP packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum LacpRate {
    /// Every 30 seconds.
    Slow,
    /// Every second.
    Fast,
}

/// What decides over the member of a bond that sends a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(inline))]
#[serde(rename_all = "kebab-case")]
pub enum TransmitHash {
    /// Hardware addresses.
    Layer2,
    /// Hardware and IP addresses.
    #[serde(rename = "layer2+3")]
    Layer23,
    /// IP addresses and ports.
    #[serde(rename = "layer3+4")]
    Layer34,
}

plain_fields!(Dhcp, BondMode, LacpRate, TransmitHash);

impl Link {
    /// Families that ask for addresses by DHCP: what the config says, else both when there are no addresses.
    pub fn dhcp(&self) -> Dhcp {
        self.dhcp.unwrap_or(if self.addresses.is_empty() { Dhcp::Both } else { Dhcp::None })
    }

    /// Whether router advertisements are obeyed.
    pub fn accepts_ra(&self) -> bool {
        self.accept_ra.unwrap_or(!self.addresses.iter().any(|address| address.address().is_ipv6()))
    }

    /// Whether the link is made rather than found.
    pub fn is_made(&self) -> bool {
        self.vlan.is_some() || self.bond.is_some() || self.bridge.is_some()
    }
}

impl Check for Link {
    const VITAL: &'static [&'static str] = &["match", "name", "vlan", "bond", "bridge"];

    fn check(mut self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let kinds = [self.vlan.is_some(), self.bond.is_some(), self.bridge.is_some()]
            .into_iter()
            .filter(|is| *is)
            .count();
        let wrong = match (kinds, &self.name, &self.r#match) {
            (0, _, None) => {
                Some("say which link with match = { mac = \"…\" }, or what to make with vlan, bond or bridge")
            }
            (0, Some(_), Some(_)) => {
                Some("a link that is there keeps its name: name is for vlan, bond and bridge")
            }
            (1, None, _) => Some("a link that is made needs a name"),
            (1, _, Some(_)) => Some("a link is either found (match) or made (vlan, bond, bridge)"),
            (2.., ..) => Some("a link can be one of vlan, bond and bridge"),
            _ => None,
        };
        if let Some(wrong) = wrong {
            reader.report(place.offset, place.key, wrong);
            return None;
        }
        self.check_families(place, reader);
        if let (Some(name), Some(vlan)) = (&self.name, &self.vlan)
            && vlan.parent == LinkRef::from(name.clone())
        {
            reader.report(place.offset, place.key, "a VLAN cannot be its own parent");
            return None;
        }
        Some(self)
    }

    fn identity(&self) -> Option<String> {
        let name = self.name.as_ref().map(|name| format!("the link {name}"));
        name.or_else(|| self.r#match.as_ref().map(Match::describe))
    }
}

impl Link {
    /// Removes what cannot work with the addresses that the link has or will ask for.
    fn check_families(&mut self, place: Place<'_>, reader: &mut Reader<'_>) {
        let has_v4 = matches!(self.dhcp(), Dhcp::V4 | Dhcp::Both)
            || self.addresses.iter().any(|address| address.address().is_ipv4());
        let has_v6 = self.accepts_ra()
            || matches!(self.dhcp(), Dhcp::V6 | Dhcp::Both)
            || self.addresses.iter().any(|address| address.address().is_ipv6());
        let is_useless = |address: &IpAddr| if address.is_ipv4() { !has_v4 } else { !has_v6 };
        self.gateways.retain(|gateway| {
            let useless = is_useless(gateway);
            if useless {
                let message = format!("the gateway {gateway} has no address of its family beside it");
                reader.report(place.offset, place.key, message);
            }
            !useless
        });
        let small = self.mtu.filter(|mtu| mtu.get() < MIN_IPV6_MTU);
        if let Some(mtu) = small
            && self.addresses.iter().any(|address| address.address().is_ipv6())
        {
            let message = format!("IPv6 needs an MTU of {MIN_IPV6_MTU} at least, not {}", mtu.get());
            reader.report(place.offset, place.key, message);
            self.mtu = None;
        }
    }
}

impl Match {
    fn describe(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("name {name}"));
        let mac = self.mac.as_ref().map(|mac| format!("mac {mac}"));
        let driver = self.driver.as_ref().map(|driver| format!("driver {driver}"));
        let parts: Vec<String> = [name, mac, driver].into_iter().flatten().collect();
        format!("the link with {}", parts.join(", "))
    }
}

impl Check for Match {
    const VITAL: &'static [&'static str] = &["name", "mac", "driver"];
    const STRICT: bool = true;

    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self == Self::default() {
            reader.report(place.offset, place.key, "name at least one of name, mac and driver");
            return None;
        }
        Some(self)
    }
}

impl Check for Route {
    fn check(self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        let wrong = match (self.to.target(), self.via) {
            (Target::Default, None) => Some("a default route needs via".to_owned()),
            (Target::Network(network), Some(via)) if network.address.is_ipv4() != via.is_ipv4() => {
                Some(format!("{via} is of another family than {}", self.to))
            }
            _ => None,
        };
        match wrong {
            Some(message) => {
                reader.report(place.offset, place.key, message);
                None
            }
            None => Some(self),
        }
    }
}

impl Check for Vlan {}

impl Check for Bond {
    fn check(mut self, place: Place<'_>, reader: &mut Reader<'_>) -> Option<Self> {
        if self.members.is_empty() {
            reader.report(place.offset, place.key, "a bond needs members");
            return None;
        }
        let mode = self.mode.unwrap_or_default();
        if let Some(primary) = &self.primary {
            let wrong = match mode {
                BondMode::Lacp => Some("primary has a meaning for mode = \"active-backup\" only".to_owned()),
                BondMode::ActiveBackup if !self.members.contains(primary) => {
                    Some(format!("the primary {primary} is not among the members"))
                }
                BondMode::ActiveBackup => None,
            };
            if let Some(message) = wrong {
                reader.report(place.offset, place.key, message);
                self.primary = None;
            }
        }
        if mode == BondMode::ActiveBackup && (self.lacp_rate.is_some() || self.transmit_hash.is_some()) {
            let message = "lacp-rate and transmit-hash have a meaning for mode = \"802.3ad\" only";
            reader.report(place.offset, place.key, message);
            (self.lacp_rate, self.transmit_hash) = (None, None);
        }
        Some(self)
    }
}

impl Check for Bridge {}
