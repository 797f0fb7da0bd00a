//! What must change so that the kernel has what is wanted. Pure, and safe to repeat.
//!
//! Only addresses and routes with one of this program's protocol numbers are ever taken away.

use std::net::IpAddr;

use crate::address::Net;
use crate::kernel::{Address, Change, Lifetimes, Origin, RouteKey};

/// Lifetimes that differ by less are the same: they count down while they are compared.
const SLACK_S: u32 = 5;
/// `IFAPROT_KERNEL_RA` of linux/if_addr.h.
const ADDRESS_FROM_RA: u8 = 2;
/// `RTPROT_RA` of linux/rtnetlink.h.
const ROUTE_FROM_RA: u8 = 9;
/// Metrics of default routes: config before DHCP before router advertisements (1024 in the kernel). The link's number
/// is added, because two routes with one metric would replace each other.
const STATIC_METRIC: u32 = 100;
const DHCP_METRIC: u32 = 500;

/// An address that a link should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedAddress {
    /// Address and prefix length.
    pub net: Net,
    /// Where it comes from.
    pub origin: Origin,
    /// How long it may be used.
    pub lifetimes: Lifetimes,
}

/// A route that should be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRoute {
    /// The route.
    pub key: RouteKey,
    /// The router is reached over the link although no address says so.
    pub is_onlink: bool,
}

impl WantedRoute {
    /// A route over `link`, whose addresses lie in `nets`.
    pub fn new(
        link: u32,
        destination: Net,
        gateway: Option<IpAddr>,
        (origin, metric): (Origin, Option<u32>),
        nets: &[Net],
    ) -> Self {
        let default = match origin {
            Origin::Static => STATIC_METRIC,
            Origin::Dhcp => DHCP_METRIC,
        };
        let metric = metric.unwrap_or_else(|| default.saturating_add(link));
        let is_near = |gateway: IpAddr| {
            let is_link_local = matches!(gateway, IpAddr::V6(address) if address.is_unicast_link_local());
            is_link_local || nets.iter().any(|net| net.contains(gateway))
        };
        Self {
            key: RouteKey {
                destination: destination.network(),
                gateway,
                link,
                metric,
                protocol: origin.protocol(),
            },
            is_onlink: gateway.is_some_and(|gateway| !is_near(gateway)),
        }
    }
}

/// Changes of the addresses of one link. `accept_ra`: whether those from router advertisements may stay.
pub fn addresses(link: u32, wanted: &[WantedAddress], actual: &[&Address], accept_ra: bool) -> Vec<Change> {
    let is_ours = |address: &Address| {
        Origin::from_protocol(address.protocol).is_some()
            || (address.protocol == ADDRESS_FROM_RA && !accept_ra)
    };
    let is_wanted = |address: &Address| wanted.iter().any(|wanted| wanted.net == address.net);
    let gone = actual.iter().filter(|address| is_ours(address) && !is_wanted(address));
    let mut changes: Vec<Change> =
        gone.map(|address| Change::RemoveAddress { link, net: address.net }).collect();
    for WantedAddress { net, origin, lifetimes } in wanted {
        let is_set = |address: &Address| {
            address.net == *net
                && is_near(address.valid_s, lifetimes.valid_s)
                && is_near(address.preferred_s, lifetimes.preferred_s)
                // One that somebody else set stays theirs: it does the same.
                && (address.protocol == origin.protocol() || Origin::from_protocol(address.protocol).is_none())
        };
        if !actual.iter().any(|address| is_set(address)) {
            changes.push(Change::AddAddress { link, net: *net, origin: *origin, lifetimes: *lifetimes });
        }
    }
    changes
}

fn is_near(one: u32, other: u32) -> bool {
    (one == u32::MAX) == (other == u32::MAX) && one.abs_diff(other) <= SLACK_S
}

/// Changes of routes over the links in `managed`: link number, and whether routes from router advertisements may stay.
pub fn routes(managed: &[(u32, bool)], wanted: &[WantedRoute], actual: &[RouteKey]) -> Vec<Change> {
    let is_ours = |route: &RouteKey| {
        managed.iter().any(|(link, accept_ra)| {
            *link == route.link
                && (Origin::from_protocol(route.protocol).is_some()
                    || (route.protocol == ROUTE_FROM_RA && !accept_ra))
        })
    };
    let is_wanted = |route: &RouteKey| wanted.iter().any(|wanted| wanted.key == *route);
    let gone = actual.iter().filter(|route| is_ours(route) && !is_wanted(route));
    let mut changes: Vec<Change> = gone.cloned().map(Change::RemoveRoute).collect();
    let missing = wanted.iter().filter(|wanted| !actual.contains(&wanted.key));
    // Routes on a link come first: routers of others may lie behind them.
    let (far, near): (Vec<_>, Vec<_>) = missing.partition(|wanted| wanted.key.gateway.is_some());
    for WantedRoute { key, is_onlink } in near.into_iter().chain(far) {
        changes.push(Change::AddRoute { route: key.clone(), is_onlink: *is_onlink });
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actual(net: &str, protocol: u8, valid_s: u32) -> Address {
        let net = net.parse().unwrap();
        let (is_tentative, is_duplicate) = (false, false);
        Address { link: 2, net, protocol, preferred_s: valid_s, valid_s, is_tentative, is_duplicate }
    }

    fn wanted(net: &str, origin: Origin, seconds: u32) -> WantedAddress {
        let lifetimes = Lifetimes { preferred_s: seconds, valid_s: seconds };
        WantedAddress { net: net.parse().unwrap(), origin, lifetimes }
    }

    fn check(wanted: &[WantedAddress], actual: &[Address], accept_ra: bool, expected: &[&str]) {
        let actual: Vec<&Address> = actual.iter().collect();
        let changes = addresses(2, wanted, &actual, accept_ra);
        let words = changes.iter().map(|change| match change {
            Change::AddAddress { net, lifetimes, .. } => format!("add {net} {}", lifetimes.valid_s),
            Change::RemoveAddress { net, .. } => format!("remove {net}"),
            other => format!("{other:?}"),
        });
        assert_eq!(words.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn addresses_follow_what_is_wanted() {
        use Origin::{Dhcp, Static};
        let lease = wanted("192.0.2.7/24", Dhcp, 3600);
        check(std::slice::from_ref(&lease), &[], true, &["add 192.0.2.7/24 3600"]);
        check(std::slice::from_ref(&lease), &[actual("192.0.2.7/24", 16, 3598)], true, &[]);
        check(
            std::slice::from_ref(&lease),
            &[actual("192.0.2.7/24", 16, 1800)],
            true,
            &["add 192.0.2.7/24 3600"],
        );
        check(&[], &[actual("192.0.2.7/24", 16, 1800)], true, &["remove 192.0.2.7/24"]);
        let renumbered = ["remove 192.0.2.9/24", "add 192.0.2.7/24 3600"];
        check(&[lease], &[actual("192.0.2.9/24", 16, 1800)], true, &renumbered);
        let fixed = wanted("192.0.2.7/24", Static, u32::MAX);
        check(
            std::slice::from_ref(&fixed),
            &[actual("192.0.2.7/24", 16, 100)],
            true,
            &["add 192.0.2.7/24 4294967295"],
        );
        check(&[fixed], &[actual("192.0.2.7/24", 0, u32::MAX)], true, &[]);
    }

    #[test]
    fn what_others_set_stays() {
        let foreign = [actual("10.244.0.1/24", 0, u32::MAX), actual("fe80::1/64", 3, u32::MAX)];
        check(&[], &foreign, false, &[]);
        let announced = [actual("2001:db8::1/64", ADDRESS_FROM_RA, 600)];
        check(&[], &announced, true, &[]);
        check(&[], &announced, false, &["remove 2001:db8::1/64"]);
    }

    #[test]
    fn routes_follow_what_is_wanted() {
        let nets = ["192.0.2.7/24".parse().unwrap()];
        let default: Net = "0.0.0.0/0".parse().unwrap();
        let route = |gateway: &str| {
            WantedRoute::new(2, default, Some(gateway.parse().unwrap()), (Origin::Dhcp, None), &nets)
        };
        assert!(!route("192.0.2.1").is_onlink);
        assert!(route("198.51.100.1").is_onlink, "a router outside of the network");
        let foreign = RouteKey { protocol: 3, ..route("192.0.2.1").key };
        let elsewhere = RouteKey { link: 9, ..route("192.0.2.2").key };
        let old = route("192.0.2.2").key;
        let there = [foreign, elsewhere, old.clone()];
        let changes = routes(&[(2, true)], &[route("192.0.2.1")], &there);
        let new = Change::AddRoute { route: route("192.0.2.1").key, is_onlink: false };
        assert_eq!(changes, [Change::RemoveRoute(old), new.clone()]);
        let near = WantedRoute::new(2, "198.51.100.1/32".parse().unwrap(), None, (Origin::Dhcp, None), &nets);
        let changes = routes(&[(2, true)], &[route("192.0.2.1"), near.clone()], &[]);
        assert_eq!(changes, [Change::AddRoute { route: near.key, is_onlink: false }, new]);
    }
}
