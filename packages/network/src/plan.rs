//! Which settings apply to which link. Pure: links and settings in, roles out.
//!
//! Links that other programs make (veth of containers, `cni0`, `flannel.1`, tunnels) are hardware for nobody and are
//! touched only when the config names them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::address::Net;
use crate::kernel::Link;
use crate::settings::{Below, LinkSettings, Match, RouteSettings, Settings, Virtual};

/// What this program does with a link.
#[derive(Clone, Debug, PartialEq)]
pub enum Role {
    /// It gets addresses.
    Managed(LinkPlan),
    /// It belongs to a bond or a bridge and has no addresses.
    Member {
        /// Name of the bond or bridge.
        controller: String,
        /// Largest packet in bytes, where the config says so.
        mtu: Option<u32>,
    },
    /// It carries VLANs: it is switched on, and no more.
    Parent,
}

/// Settings of a managed link.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkPlan {
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
    /// Whether DHCPv4 runs.
    pub dhcp4: bool,
    /// Whether DHCPv6 runs when routers ask for it.
    pub dhcp6: bool,
    /// Whether router advertisements are taken.
    pub accept_ra: bool,
}

impl LinkPlan {
    /// Every way there is, for a link that nothing is said about.
    pub fn automatic() -> Self {
        Self { dhcp4: true, dhcp6: true, accept_ra: true, ..Self::default() }
    }

    fn from_settings(settings: &LinkSettings) -> Self {
        let LinkSettings { addresses, gateways, routes, dns, search, mtu, .. } = settings.clone();
        let LinkSettings { dhcp4, dhcp6, accept_ra, .. } = *settings;
        Self { addresses, gateways, routes, dns, search, mtu, dhcp4, dhcp6, accept_ra }
    }
}

/// Roles by link index; links without a role are left alone. `driver` gives the driver of a link by its name, and
/// `wired` names links that count as hardware although the kernel made them.
pub fn roles(
    settings: &Settings,
    links: &[Link],
    wired: &[String],
    driver: &dyn Fn(&str) -> Option<String>,
) -> BTreeMap<u32, Role> {
    let is_hardware = |link: &Link| {
        link.is_ethernet && link.mac.is_some() && (link.kind.is_none() || wired.contains(&link.name))
    };
    let mut roles = BTreeMap::new();
    // A VLAN or bond that can be made counts, although it is not there yet.
    let can_be_made = |link: &LinkSettings| {
        let is_there = |below: &Below| links.iter().any(|link| below.is(link));
        match &link.kind {
            Some(Virtual::Vlan { parent, .. }) => is_there(parent),
            Some(other) => other.members().iter().any(is_there),
            None => false,
        }
    };
    let mut is_applicable = settings.links.iter().any(can_be_made);
    let mut unmatched = Vec::new();
    for link in links {
        let found = settings.links.iter().find(|settings| matches(settings, link, is_hardware(link), driver));
        if let Some(controller) = controller(settings, link) {
            let mtu = found.and_then(|settings| settings.mtu);
            roles.insert(link.index, Role::Member { controller: controller.to_owned(), mtu });
        } else if let Some(settings) = found {
            is_applicable = true;
            roles.insert(link.index, Role::Managed(LinkPlan::from_settings(settings)));
        } else if is_parent(settings, link) {
            roles.insert(link.index, Role::Parent);
        } else if is_hardware(link) && link.controller.is_none() {
            unmatched.push(link.index);
        }
    }
    // Without settings, or with settings for links that this machine does not have, the host must be reachable still.
    if !is_applicable {
        roles.extend(unmatched.into_iter().map(|index| (index, Role::Managed(LinkPlan::automatic()))));
    }
    roles
}

/// Name of the bond or bridge that a link should belong to.
fn controller<'a>(settings: &'a Settings, link: &Link) -> Option<&'a str> {
    settings.links.iter().find_map(|above| {
        let is_member = above.kind.as_ref()?.members().iter().any(|member| member.is(link));
        above.matches.name.as_deref().filter(|name| is_member && *name != link.name)
    })
}

/// Whether a link carries VLANs.
fn is_parent(settings: &Settings, link: &Link) -> bool {
    let kinds = settings.links.iter().filter_map(|above| above.kind.as_ref());
    kinds.into_iter().any(|kind| matches!(kind, Virtual::Vlan { parent, .. } if parent.is(link)))
}

fn matches(
    settings: &LinkSettings,
    link: &Link,
    is_hardware: bool,
    driver: &dyn Fn(&str) -> Option<String>,
) -> bool {
    let Match { name, mac, driver: wanted } = &settings.matches;
    // Bonds and VLANs have the address of a link below them: without a name only hardware is meant.
    let is_meant = is_hardware || name.is_some();
    is_meant
        && name.as_ref().is_none_or(|name| *name == link.name)
        && mac.is_none_or(|mac| link.mac == Some(mac))
        && wanted.as_ref().is_none_or(|wanted| driver(&link.name).as_ref() == Some(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::BondMode;

    fn link(index: u32, name: &str, kind: Option<&str>) -> Link {
        let mac = Some([0x52, 0x54, 0, 0, 0, u8::try_from(index).unwrap()]);
        Link {
            index,
            name: name.into(),
            kind: kind.map(Into::into),
            mac,
            is_ethernet: true,
            ..Link::default()
        }
    }

    fn machine() -> Vec<Link> {
        let loopback = Link { index: 1, name: "lo".into(), ..Link::default() };
        let container = link(4, "veth1", Some("veth"));
        vec![
            loopback,
            link(2, "eth0", None),
            link(3, "eth1", None),
            container,
            link(5, "cni0", Some("bridge")),
        ]
    }

    fn named(name: &str) -> LinkSettings {
        let matches = Match { name: Some(name.into()), ..Match::default() };
        LinkSettings { matches, dhcp4: true, dhcp6: true, accept_ra: true, ..LinkSettings::default() }
    }

    fn check(links: Vec<LinkSettings>, expected: &[(u32, &str)]) {
        let settings = Settings { links, ..Settings::default() };
        let driver = |name: &str| (name == "eth1").then(|| "e1000".to_owned());
        let roles = roles(&settings, &machine(), &[], &driver);
        let words: Vec<(u32, String)> = roles
            .into_iter()
            .map(|(index, role)| match role {
                Role::Managed(plan) if plan == LinkPlan::automatic() => (index, "automatic".into()),
                Role::Managed(plan) => (index, format!("{} addresses", plan.addresses.len())),
                Role::Member { controller, .. } => (index, format!("in {controller}")),
                Role::Parent => (index, "parent".into()),
            })
            .collect();
        let words: Vec<(u32, &str)> = words.iter().map(|(index, word)| (*index, word.as_str())).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn who_does_what() {
        let fixed = LinkSettings { addresses: vec!["192.0.2.1/24".parse().unwrap()], ..named("eth0") };
        check(vec![], &[(2, "automatic"), (3, "automatic")]);
        check(vec![fixed.clone()], &[(2, "1 addresses")]);
        check(vec![named("eth9")], &[(2, "automatic"), (3, "automatic")]);
        check(vec![named("cni0")], &[(5, "automatic")]);
        check(
            vec![LinkSettings { matches: Match::default(), ..named("") }],
            &[(2, "automatic"), (3, "automatic")],
        );
        let mut by_driver = LinkSettings { matches: Match::default(), ..fixed.clone() };
        by_driver.matches.driver = Some("e1000".into());
        check(vec![by_driver.clone()], &[(3, "1 addresses")]);
        by_driver.matches.mac = Some([0x52, 0x54, 0, 0, 0, 2]);
        check(vec![by_driver], &[(2, "automatic"), (3, "automatic")]);
        let mut by_mac = LinkSettings { matches: Match::default(), ..fixed };
        by_mac.matches.mac = Some([0x52, 0x54, 0, 0, 0, 4]);
        check(vec![by_mac], &[(2, "automatic"), (3, "automatic")]);
    }

    #[test]
    fn links_below_others() {
        let bond = Virtual::Bond {
            mode: BondMode::ActiveBackup,
            members: vec![Below("eth0".into()), Below("52:54:00:00:00:03".into())],
            miimon: 100,
            primary: None,
            lacp_fast: false,
            hash: None,
        };
        let vlan = Virtual::Vlan { parent: Below("bond0".into()), id: 5 };
        let bond = LinkSettings { kind: Some(bond), ..named("bond0") };
        let vlan = LinkSettings { kind: Some(vlan), ..named("bond0.5") };
        check(vec![bond, vlan.clone()], &[(2, "in bond0"), (3, "in bond0")]);
        let vlan = LinkSettings { kind: Some(Virtual::Vlan { parent: Below("eth0".into()), id: 5 }), ..vlan };
        check(vec![vlan], &[(2, "parent")]);
    }
}
