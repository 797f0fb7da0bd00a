//! What a DHCPv4 server gave, and until when.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::message::{Message, option};
use crate::address::Net;
use crate::time::Instant;

/// Shorter leases are taken for this long: a server that says 0 would be asked without end.
const SHORTEST_S: u32 = 10;
/// RFC 791: every host takes packets of this size; less is a mistake or an attack.
const SMALLEST_MTU: u16 = 576;

/// A lease. It is kept below `/run`, so it holds times since the start of the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The address and its network.
    pub net: Net,
    /// The server that gave it.
    pub server: Ipv4Addr,
    /// Default routers.
    pub routers: Vec<Ipv4Addr>,
    /// Further routes: destination, and router or nothing for networks on the link.
    pub routes: Vec<(Net, Option<Ipv4Addr>)>,
    /// DNS servers.
    pub dns: Vec<Ipv4Addr>,
    /// Domains to search.
    pub search: Vec<String>,
    /// NTP servers.
    pub ntp: Vec<Ipv4Addr>,
    /// The name of this host.
    pub hostname: Option<String>,
    /// Largest packet in bytes.
    pub mtu: Option<u16>,
    /// When it was asked for.
    pub since: Instant,
    /// From when its server is asked to renew it; nothing for a lease for ever.
    pub renew_at: Option<Instant>,
    /// From when any server is asked.
    pub rebind_at: Option<Instant>,
    /// When it ends.
    pub ends_at: Option<Instant>,
}

impl Lease {
    /// The lease in an offer or acknowledgement to a request sent at `since`; nothing when something needed is missing
    /// or no host can have the address.
    pub fn from_message(message: &Message, since: Instant) -> Option<Self> {
        let address = message.yiaddr;
        if address.is_unspecified()
            || address.is_multicast()
            || address.is_broadcast()
            || address.is_loopback()
        {
            return None;
        }
        let mask = message.fixed(option::SUBNET_MASK).map(u32::from_be_bytes);
        let prefix = match mask {
            // Holes in the mask: no network looks like that.
            Some(mask) if mask.leading_ones() + mask.trailing_zeros() < 32 => return None,
            Some(mask) => u8::try_from(mask.leading_ones()).expect("at most 32"),
            None => class_prefix(address),
        };
        let seconds = message.seconds(option::LEASE_TIME)?;
        let (routers, routes) = match message.classless_routes() {
            // RFC 3442: the router option is not looked at then.
            Some(routes) => {
                let (defaults, routes): (Vec<_>, Vec<_>) =
                    routes.into_iter().partition(|(net, _)| net.is_default());
                let defaults = defaults.into_iter().map(|(_, router)| router);
                let routes = routes
                    .into_iter()
                    .map(|(net, router)| (net, Some(router).filter(|r| !r.is_unspecified())));
                (defaults.filter(|router| !router.is_unspecified()).collect(), routes.collect())
            }
            None => (message.addresses(option::ROUTER), Vec::new()),
        };
        let mut lease = Self {
            net: Net { address: IpAddr::V4(address), prefix },
            server: message.address(option::SERVER_ID)?,
            routers,
            routes,
            dns: message.addresses(option::DNS),
            search: message.search(),
            ntp: message.addresses(option::NTP),
            hostname: message.name(option::HOST_NAME),
            mtu: message.fixed(option::MTU).map(u16::from_be_bytes).filter(|mtu| *mtu >= SMALLEST_MTU),
            since,
            renew_at: None,
            rebind_at: None,
            ends_at: None,
        };
        if seconds != u32::MAX {
            lease.set_times(message, seconds.max(SHORTEST_S));
        }
        Some(lease)
    }

    fn set_times(&mut self, message: &Message, seconds: u32) {
        let end = Duration::from_secs(seconds.into());
        let given = |number| message.seconds(number).map(|seconds| Duration::from_secs(seconds.into()));
        // RFC 2131 section 4.4.5; times in the wrong order are not used.
        let rebind = given(option::REBINDING_TIME).filter(|rebind| *rebind < end).unwrap_or(end * 7 / 8);
        let renew = given(option::RENEWAL_TIME)
            .filter(|renew| *renew <= rebind && !renew.is_zero())
            .unwrap_or_else(|| (end / 2).min(rebind));
        self.renew_at = Some(self.since + renew);
        self.rebind_at = Some(self.since + rebind);
        self.ends_at = Some(self.since + end);
    }

    /// The leased address.
    pub fn address(&self) -> Ipv4Addr {
        match self.net.address {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        }
    }

    /// Whether it has ended.
    pub fn is_over(&self, now: Instant) -> bool {
        self.ends_at.is_some_and(|end| end <= now)
    }
}

/// Networks before there were masks (RFC 791).
fn class_prefix(address: Ipv4Addr) -> u8 {
    match address.octets()[0] {
        0..=127 => 8,
        128..=191 => 16,
        _ => 24,
    }
}
