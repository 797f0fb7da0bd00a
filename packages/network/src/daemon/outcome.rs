//! What the daemon tells people: changes in words, and the report.

use std::io;

use super::Daemon;
use crate::kernel::{Address, Change, Origin, RouteKey, Snapshot};
use crate::plan::Role;
use crate::report::{AddressReport, LinkReport, Report, RouteReport, TimeReport};
use crate::{resolv, time};

/// Format of `network.json`.
const VERSION: u32 = 1;

/// The link that a change is about.
pub(super) fn link(change: &Change) -> Option<u32> {
    match change {
        Change::AddAddress { link, .. }
        | Change::RemoveAddress { link, .. }
        | Change::SetUp(link, _)
        | Change::SetMtu(link, _)
        | Change::SetController(link, _)
        | Change::Delete(link) => Some(*link),
        Change::AddRoute { route, .. } | Change::RemoveRoute(route) => Some(route.link),
        Change::SetPrimary { bond, .. } => Some(*bond),
        Change::Create { .. } => None,
    }
}

/// A change as a phrase that also fits behind "cannot".
pub(super) fn words(change: &Change) -> String {
    let route = |route: &RouteKey| match route.gateway {
        Some(gateway) => format!("{} through {gateway}", route.destination),
        None => route.destination.to_string(),
    };
    match change {
        Change::AddAddress { net, lifetimes, .. } if lifetimes.valid_s == u32::MAX => {
            format!("set address {net}")
        }
        Change::AddAddress { net, lifetimes, .. } => format!("set address {net} for {} s", lifetimes.valid_s),
        Change::RemoveAddress { net, .. } => format!("remove address {net}"),
        Change::AddRoute { route: key, .. } => format!("add route {}", route(key)),
        Change::RemoveRoute(key) => format!("remove route {}", route(key)),
        Change::SetUp(_, true) => "switch on".into(),
        Change::SetUp(_, false) => "switch off".into(),
        Change::SetMtu(_, mtu) => format!("set mtu {mtu}"),
        Change::SetController(_, 0) => "leave its bond or bridge".into(),
        Change::SetController(..) => "join its bond or bridge".into(),
        Change::Create { name, .. } => format!("make {name}"),
        Change::Delete(_) => "remove the link".into(),
        Change::SetPrimary { .. } => "set the preferred member".into(),
    }
}

impl Daemon {
    /// Writes the report and tells PID 1, when there is something new.
    pub(super) fn publish(&mut self) {
        let now = time::now();
        let status = self.with.ntp.status(now);
        let errors: Vec<String> = self.with.errors.iter().chain(&self.errors).cloned().collect();
        let Some(report) = &mut self.report else { return };
        report.time = TimeReport {
            servers: status.servers,
            answering: status.answering,
            stratum: status.stratum,
            offset_us: status.offset.and_then(|offset| i64::try_from(offset / 1000).ok()),
            synchronized: status.is_synchronized,
        };
        report.errors = errors;
        let text = serde_json::to_string_pretty(report).expect("the report is plain data") + "\n";
        let path = self.with.run.join("network.json");
        if let Err(error) = resolv::write_whole(&path, &text) {
            eprintln!("cannot write {}: {error}", path.display());
        }
        let says = report.status();
        if self.says != says {
            self.with.notify.status(&says);
            self.says = says;
        }
    }

    pub(super) fn make_report(
        &mut self,
        snapshot: &Snapshot,
        roles: &std::collections::BTreeMap<u32, Role>,
    ) -> io::Result<Report> {
        let routes = Snapshot::routes(&mut self.netlink)?;
        let mut links = Vec::new();
        for link in &snapshot.links {
            let role = match roles.get(&link.index) {
                Some(Role::Managed(_)) => "managed",
                Some(Role::Member { .. }) => "member",
                Some(Role::Parent) => "parent",
                None => continue,
            };
            let (dhcp4, dhcp6) = self.links.get(&link.index).map_or((None, None), |runner| runner.states());
            let is_shown = |route: &&RouteKey| {
                route.link == link.index && Origin::from_protocol(route.protocol).is_some()
            };
            links.push(LinkReport {
                name: link.name.clone(),
                mac: link.mac.map(|mac| mac.map(|byte| format!("{byte:02x}")).join(":")),
                role,
                carrier: link.has_carrier,
                mtu: link.mtu,
                dhcp4,
                dhcp6,
                router: link.router.is_heard,
                addresses: snapshot.addresses_of(link.index).map(address).collect(),
                routes: routes.iter().filter(is_shown).map(route).collect(),
            });
        }
        let resolv = self.resolv();
        Ok(Report {
            version: VERSION,
            hostname: self.hostname.clone(),
            dns: resolv.servers,
            search: resolv.search,
            links,
            ..Report::default()
        })
    }
}

fn address(address: &Address) -> AddressReport {
    let origin = match address.protocol {
        // Protocol numbers of linux/if_addr.h and linux/rtnetlink.h.
        2 => "ra",
        3 => "link-local",
        4 => "static",
        16 => "dhcp",
        _ => "other",
    };
    let state = match (address.is_duplicate, address.is_tentative) {
        (true, _) => Some("duplicate"),
        (false, true) => Some("tentative"),
        (false, false) => None,
    };
    let ends_at_s = (address.valid_s != u32::MAX).then(|| time::now().as_secs() + u64::from(address.valid_s));
    AddressReport { address: address.net, origin, state, ends_at_s }
}

fn route(route: &RouteKey) -> RouteReport {
    let gateway = route.gateway.map(|gateway| gateway.to_string());
    RouteReport { destination: route.destination, gateway, metric: route.metric }
}
