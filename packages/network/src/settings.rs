//! What the machine config says about network and time, in the shape this program works with: defaults that depend on
//! nothing else are filled in, and links are told apart by one kind of table.

use std::net::IpAddr;

use lepton_config::{Bond, Dhcp as ConfigDhcp, LacpRate, Link, MachineConfig};
pub use lepton_config::{BondMode, TransmitHash};

use crate::address::Net;
use crate::kernel::Link as KernelLink;

/// How often a bond looks at its members' carriers, in milliseconds.
const MIIMON: u32 = 100;

/// Everything this program is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// The configured host name; it wins over one from DHCP.
    pub hostname: Option<String>,
    /// DNS servers; they come before those that links learn.
    pub dns: Vec<IpAddr>,
    /// Search domains; they come before those that links learn.
    pub search: Vec<String>,
    /// Links in the order of the file.
    pub links: Vec<LinkSettings>,
    /// NTP servers, names or addresses; when there are any, those of DHCP are not used.
    pub ntp: Vec<String>,
}

/// Settings of one link, or of the links that match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSettings {
    /// Which links are meant; the name of a link to make.
    pub matches: Match,
    /// What to make, where the link is not there by itself.
    pub kind: Option<Virtual>,
    /// Whether DHCPv4 runs.
    pub dhcp4: bool,
    /// Whether DHCPv6 runs when routers ask for it.
    pub dhcp6: bool,
    /// Whether addresses, routes and DNS servers of router advertisements are taken.
    pub accept_ra: bool,
    /// Static addresses.
    pub addresses: Vec<Net>,
    /// Default routers.
    pub gateways: Vec<IpAddr>,
    /// Further routes.
    pub routes: Vec<RouteSettings>,
    /// DNS servers behind this link.
    pub dns: Vec<IpAddr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
}

/// All that are given must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// Name of the link, such as `eth0`.
    pub name: Option<String>,
    /// Hardware address.
    pub mac: Option<[u8; 6]>,
    /// Name of the kernel driver, such as `virtio_net`.
    pub driver: Option<String>,
}

/// A link below another one, by name or hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Below(pub String);

impl Below {
    /// Whether this is the link. Bonds and VLANs share the address of a link below them, so an address means hardware.
    pub fn is(&self, link: &KernelLink) -> bool {
        let mac = link.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":"));
        link.name == self.0
            || (link.kind.is_none() && mac.is_some_and(|mac| mac == self.0.to_ascii_lowercase()))
    }
}

/// A link that the kernel makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Virtual {
    /// An 802.1Q tag on another link.
    Vlan {
        /// The link below.
        parent: Below,
        /// The tag, 1 to 4094.
        id: u16,
    },
    /// Several links as one.
    Bond {
        /// How they share the work.
        mode: BondMode,
        /// The links below.
        members: Vec<Below>,
        /// Milliseconds between looks at the members' carriers.
        miimon: u32,
        /// The member that active-backup prefers.
        primary: Option<Below>,
        /// LACP packets each second instead of each 30 seconds.
        lacp_fast: bool,
        /// What decides over the member that sends a packet.
        hash: Option<TransmitHash>,
    },
    /// A switch.
    Bridge {
        /// The links that are its ports.
        members: Vec<Below>,
        /// Whether it speaks the spanning tree protocol.
        stp: bool,
    },
}

impl Virtual {
    /// Links below a bond or a bridge.
    pub fn members(&self) -> &[Below] {
        match self {
            Self::Vlan { .. } => &[],
            Self::Bond { members, .. } | Self::Bridge { members, .. } => members,
        }
    }
}

/// A static route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteSettings {
    /// Where to.
    pub destination: Net,
    /// Through which router; unset: on the link.
    pub gateway: Option<IpAddr>,
    /// Lower is preferred; unset: that of the link.
    pub metric: Option<u32>,
}

impl Settings {
    /// Network and time of a machine config.
    pub fn from_config(config: &MachineConfig) -> Self {
        let network = &config.network;
        Self {
            hostname: config.hostname.as_ref().map(ToString::to_string),
            dns: network.dns.clone(),
            search: network.search.iter().map(ToString::to_string).collect(),
            links: network.links.iter().map(LinkSettings::from_config).collect(),
            ntp: config.time.servers.iter().map(ToString::to_string).collect(),
        }
    }
}

impl LinkSettings {
    fn from_config(link: &Link) -> Self {
        let mut matches = Match::default();
        if let Some(wanted) = &link.r#match {
            matches.name = wanted.name.as_ref().map(ToString::to_string);
            matches.mac = wanted.mac.as_ref().map(|mac| mac.bytes());
            matches.driver.clone_from(&wanted.driver);
        }
        if let Some(name) = &link.name {
            matches.name = Some(name.to_string());
        }
        let below = |link: &lepton_config::LinkRef| Below(link.to_string());
        let vlan =
            link.vlan.as_ref().map(|vlan| Virtual::Vlan { parent: below(&vlan.parent), id: vlan.id.get() });
        let bond = link.bond.as_ref().map(bond);
        let bridge = link.bridge.as_ref().map(|bridge| Virtual::Bridge {
            members: bridge.members.iter().map(below).collect(),
            stp: bridge.stp.unwrap_or(false),
        });
        let dhcp = link.dhcp();
        Self {
            matches,
            kind: vlan.or(bond).or(bridge),
            dhcp4: matches!(dhcp, ConfigDhcp::V4 | ConfigDhcp::Both),
            dhcp6: matches!(dhcp, ConfigDhcp::V6 | ConfigDhcp::Both),
            accept_ra: link.accepts_ra(),
            addresses: link
                .addresses
                .iter()
                .map(|net| Net { address: net.address(), prefix: net.prefix() })
                .collect(),
            gateways: link.gateways.clone(),
            routes: link.routes.iter().filter_map(route).collect(),
            dns: link.dns.clone(),
            search: link.search.iter().map(ToString::to_string).collect(),
            mtu: link.mtu.map(|mtu| mtu.get().into()),
        }
    }
}

fn bond(bond: &Bond) -> Virtual {
    Virtual::Bond {
        mode: bond.mode.unwrap_or_default(),
        members: bond.members.iter().map(|link| Below(link.to_string())).collect(),
        miimon: bond.miimon_ms.unwrap_or(MIIMON),
        primary: bond.primary.as_ref().map(|link| Below(link.to_string())),
        lacp_fast: bond.lacp_rate == Some(LacpRate::Fast),
        hash: bond.transmit_hash,
    }
}

fn route(route: &lepton_config::Route) -> Option<RouteSettings> {
    let everywhere = |address: IpAddr| if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
    let text = route.to.to_string();
    let destination = match (text.as_str(), route.via) {
        ("default", Some(via)) => everywhere(via).parse(),
        _ => text.parse(),
    };
    Some(RouteSettings { destination: destination.ok()?, gateway: route.via, metric: route.metric })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Settings {
        let parsed = lepton_config::parse("test", text);
        assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
        Settings::from_config(&parsed.config)
    }

    #[test]
    fn a_machine_config() {
        let settings = settings(
            r#"
            hostname = "edge-1"
            time.servers = ["192.0.2.123"]
            [network]
            dns = ["192.0.2.53"]
            [[network.links]]
            match = { mac = "52:54:00:12:34:56" }
            addresses = ["192.0.2.10/24"]
            routes = [{ to = "default", via = "192.0.2.1" }, { to = "198.51.100.0/24", via = "192.0.2.2", metric = 7 }]
            [[network.links]]
            name = "bond0"
            bond = { members = ["eth1", "52:54:00:AB:CD:EF"], mode = "802.3ad", lacp-rate = "fast" }
            [[network.links]]
            name = "bond0.7"
            vlan = { id = 7, parent = "bond0" }
            "#,
        );
        assert_eq!(settings.hostname.as_deref(), Some("edge-1"));
        assert_eq!(settings.ntp, ["192.0.2.123"]);
        let [fixed, bond, vlan] = &settings.links[..] else { panic!("three links") };
        assert_eq!((fixed.dhcp4, fixed.dhcp6, fixed.accept_ra), (false, false, true));
        assert_eq!(fixed.routes[0].destination.to_string(), "0.0.0.0/0");
        assert_eq!(fixed.routes[1].metric, Some(7));
        let Some(kind @ Virtual::Bond { mode: BondMode::Lacp, miimon: 100, lacp_fast: true, .. }) =
            &bond.kind
        else {
            panic!("{:?}", bond.kind)
        };
        let mac = Some([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        let member = KernelLink { name: "eth2".into(), mac, ..KernelLink::default() };
        assert!(kind.members()[1].is(&member));
        assert!(!kind.members()[1].is(&KernelLink { kind: Some("bond".into()), ..member }));
        assert_eq!(vlan.kind, Some(Virtual::Vlan { parent: Below("bond0".into()), id: 7 }));
        assert!(vlan.dhcp4 && vlan.dhcp6 && vlan.accept_ra);
    }
}
