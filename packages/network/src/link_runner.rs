//! One managed link: its clients, what they and its routers gave, and from that what addresses and routes it should
//! have. It does not change the kernel.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Net;
use crate::kernel::{Address, Lifetimes, Link, Origin};
use crate::plan::LinkPlan;
use crate::ra::Announced;
use crate::random::Random;
use crate::reconcile::{WantedAddress, WantedRoute};
use crate::time::Instant;
use crate::wire::{Dhcp4Socket, Dhcp6Socket, solicit_routers};
use crate::{dhcp4, dhcp6, resolv};

/// Time for other routers to answer too, before prefixes from before the cable was plugged in count as gone.
const ROUTERS_ANSWER: Duration = Duration::from_secs(5);
/// Messages of one wake-up: a flood on one link must not keep others waiting.
const MOST_MESSAGES: usize = 32;

/// What is kept over a restart of this program, below `/run`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Saved {
    mac: [u8; 6],
    dhcp4: Option<dhcp4::Lease>,
    dhcp6: Option<dhcp6::Lease>,
    announced: Announced,
}

/// A managed link.
#[derive(Debug)]
pub struct LinkRunner {
    /// Its name.
    pub name: String,
    /// What it should be.
    pub plan: LinkPlan,
    index: u32,
    mac: [u8; 6],
    has_carrier: bool,
    carrier_downs: u32,
    dhcp4: Option<(dhcp4::Client, Dhcp4Socket)>,
    dhcp6: Option<(dhcp6::Client, Dhcp6Socket)>,
    mode6: Option<dhcp6::Mode>,
    announced: Announced,
    /// The cable was plugged in since prefixes were last compared.
    may_be_elsewhere: bool,
    /// When prefixes that were not announced again are taken away.
    prefixes_due: Option<Instant>,
    saved_at: PathBuf,
    saved: Saved,
    random: Random,
    /// What went wrong last, for people.
    pub error: Option<String>,
}

impl LinkRunner {
    /// A link that does nothing before `update`. `leases` is the folder of what was saved.
    pub fn new(link: &Link, plan: LinkPlan, leases: &Path, mut random: Random) -> Self {
        let saved_at = leases.join(format!("{}.json", link.name));
        let mac = link.mac.unwrap_or_default();
        let text = fs::read_to_string(&saved_at).unwrap_or_default();
        let saved: Saved = serde_json::from_str(&text).unwrap_or_default();
        let saved = if saved.mac == mac { saved } else { Saved { mac, ..Saved::default() } };
        Self {
            name: link.name.clone(),
            plan,
            index: link.index,
            mac,
            has_carrier: false,
            carrier_downs: link.carrier_downs,
            dhcp4: None,
            dhcp6: None,
            mode6: None,
            announced: saved.announced.clone(),
            may_be_elsewhere: false,
            prefixes_due: None,
            saved_at,
            saved,
            random: Random::from_seed(random.next_u64()),
            error: None,
        }
    }

    /// Whether the link has got another hardware address, as bonds do with their first member.
    pub fn has_other_mac(&self, link: &Link) -> bool {
        link.mac.is_some_and(|mac| mac != self.mac)
    }

    /// Starts, stops and wakes clients as carrier and routers say. `hostname` is sent to DHCP servers.
    pub fn update(&mut self, link: &Link, hostname: Option<&str>, now: Instant) {
        let was_up = std::mem::replace(&mut self.has_carrier, link.has_carrier && link.is_up);
        let was_pulled = std::mem::replace(&mut self.carrier_downs, link.carrier_downs) != link.carrier_downs;
        // A cable that was pulled and plugged in again may lead to another network.
        let has_changed = was_up != self.has_carrier || (was_pulled && self.has_carrier);
        self.update_dhcp4(has_changed, hostname, now);
        self.update_dhcp6(link, has_changed, now);
        if has_changed && self.has_carrier && self.plan.accept_ra {
            // This may be another network: prefixes that its routers do not announce are no longer there.
            self.announced.forget_prefixes();
            self.may_be_elsewhere = true;
            self.prefixes_due = None;
            // Before the link-local address is there, the kernel asks by itself.
            let _ = solicit_routers(self.index);
        }
    }

    fn update_dhcp4(&mut self, has_changed: bool, hostname: Option<&str>, now: Instant) {
        if !self.plan.dhcp4 {
            return;
        }
        if self.dhcp4.is_none() && self.has_carrier {
            match Dhcp4Socket::open(self.index, &self.name, self.mac) {
                Ok(socket) => {
                    let random = Random::from_seed(self.random.next_u64());
                    let lease = self.saved.dhcp4.clone();
                    let client = dhcp4::Client::new(self.mac, hostname.map(str::to_owned), lease, random);
                    self.dhcp4 = Some((client, socket));
                    self.tell4(&dhcp4::Event::CarrierUp, now);
                }
                Err(error) => self.error = Some(format!("cannot open a DHCPv4 socket: {error}")),
            }
        } else if has_changed {
            let event = if self.has_carrier { dhcp4::Event::CarrierUp } else { dhcp4::Event::CarrierDown };
            self.tell4(&event, now);
        }
    }

    fn update_dhcp6(&mut self, link: &Link, has_changed: bool, now: Instant) {
        let asked = match (link.router.managed, link.router.other) {
            (true, _) => Some(dhcp6::Mode::Stateful),
            (false, true) => Some(dhcp6::Mode::Stateless),
            (false, false) => None,
        };
        let wanted = asked.filter(|_| self.plan.dhcp6 && self.has_carrier);
        if wanted == self.mode6 && !(has_changed && wanted.is_some()) {
            return;
        }
        self.mode6 = wanted;
        if self.dhcp6.is_none() && wanted.is_some() {
            match Dhcp6Socket::open(self.index, &self.name) {
                Ok(socket) => {
                    let random = Random::from_seed(self.random.next_u64());
                    let client = dhcp6::Client::new(self.mac, self.saved.dhcp6.clone(), random);
                    self.dhcp6 = Some((client, socket));
                }
                Err(error) => self.error = Some(format!("cannot open a DHCPv6 socket: {error}")),
            }
        }
        let event = wanted.map_or(dhcp6::Event::Stop, dhcp6::Event::Start);
        self.tell6(&event, now);
    }

    /// Takes options of a router advertisement.
    pub fn hear_options(&mut self, bytes: &[u8], now: Instant) {
        if self.plan.accept_ra {
            self.announced.take_options(bytes, now);
        }
    }

    /// Takes a prefix of a router advertisement.
    pub fn hear_prefix(&mut self, bytes: &[u8], now: Instant) {
        if self.plan.accept_ra {
            self.announced.take_prefix(bytes, now);
            if self.may_be_elsewhere && self.announced.has_prefixes() && self.prefixes_due.is_none() {
                self.prefixes_due = Some(now + ROUTERS_ANSWER);
            }
        }
    }

    /// Sockets to poll.
    pub fn sockets(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let four = self.dhcp4.iter().map(|(_, socket)| socket.as_fd());
        four.chain(self.dhcp6.iter().map(|(_, socket)| socket.as_fd()))
    }

    /// Reads what has arrived; tells whether a lease may have changed.
    pub fn receive(&mut self, now: Instant) -> bool {
        let mut has_changed = false;
        for _ in 0..MOST_MESSAGES {
            let bytes = self.dhcp4.as_ref().map(|(_, socket)| socket.receive());
            match bytes {
                Some(Ok(Some(bytes))) => {
                    if let Some(message) = dhcp4::Message::parse(&bytes) {
                        has_changed |= self.tell4(&dhcp4::Event::Received(&message), now);
                    }
                }
                // The link went down while it was asked: its carrier says so too.
                Some(Err(_)) | Some(Ok(None)) | None => break,
            }
        }
        for _ in 0..MOST_MESSAGES {
            match self.dhcp6.as_ref().map(|(_, socket)| socket.receive()) {
                Some(Ok(Some(bytes))) => {
                    if let Some(message) = dhcp6::Message::parse(&bytes) {
                        has_changed |= self.tell6(&dhcp6::Event::Received(&message), now);
                    }
                }
                Some(Err(_)) | Some(Ok(None)) | None => break,
            }
        }
        has_changed
    }

    /// When `timer` is due.
    pub fn deadline(&self) -> Option<Instant> {
        let four = self.dhcp4.as_ref().and_then(|(client, _)| client.deadline());
        let six = self.dhcp6.as_ref().and_then(|(client, _)| client.deadline());
        [four, six, self.announced.deadline(), self.prefixes_due].into_iter().flatten().min()
    }

    /// Does what is due; tells whether anything may have changed.
    pub fn timer(&mut self, now: Instant) -> bool {
        let mut has_changed = self.tell4(&dhcp4::Event::Timer, now);
        has_changed |= self.tell6(&dhcp6::Event::Timer, now);
        has_changed |= self.announced.expire(now);
        has_changed | self.prefixes_due.is_some_and(|due| due <= now)
    }

    fn tell4(&mut self, event: &dhcp4::Event<'_>, now: Instant) -> bool {
        let Some((client, socket)) = &mut self.dhcp4 else { return false };
        let before = client.state();
        let actions = client.handle(event, now);
        // Its state is shown to people.
        let mut has_changed = before != client.state();
        for action in actions {
            match action {
                dhcp4::Action::Send(message, destination) => {
                    let bytes = message.to_bytes();
                    let sent = match destination {
                        dhcp4::Destination::Broadcast => socket.broadcast(Ipv4Addr::UNSPECIFIED, &bytes),
                        dhcp4::Destination::BroadcastFrom(from) => socket.broadcast(from, &bytes),
                        dhcp4::Destination::Server { server, .. } => socket.send_to(server, &bytes),
                    };
                    // It is sent again in any case.
                    self.error = sent.err().map(|error| format!("cannot send to a DHCP server: {error}"));
                }
                dhcp4::Action::Bound | dhcp4::Action::Lost => has_changed = true,
            }
        }
        has_changed
    }

    fn tell6(&mut self, event: &dhcp6::Event<'_>, now: Instant) -> bool {
        let Some((client, socket)) = &mut self.dhcp6 else { return false };
        let before = client.state();
        let actions = client.handle(event, now);
        let mut has_changed = before != client.state();
        for action in actions {
            match action {
                dhcp6::Action::Send(message) => {
                    let sent = socket.send(&message.to_bytes());
                    self.error = sent.err().map(|error| format!("cannot send to DHCPv6 servers: {error}"));
                }
                dhcp6::Action::Bound | dhcp6::Action::Lost => has_changed = true,
            }
        }
        has_changed
    }

    /// The DHCPv4 lease.
    pub fn lease4(&self) -> Option<&dhcp4::Lease> {
        match &self.dhcp4 {
            Some((client, _)) => client.lease(),
            None => self.saved.dhcp4.as_ref().filter(|_| self.plan.dhcp4),
        }
    }

    /// The DHCPv6 lease.
    pub fn lease6(&self) -> Option<&dhcp6::Lease> {
        match &self.dhcp6 {
            Some((client, _)) => client.lease(),
            None => self.saved.dhcp6.as_ref().filter(|_| self.plan.dhcp6),
        }
    }

    /// States of the clients for people, such as "waiting for DHCP".
    pub fn states(&self) -> (Option<&'static str>, Option<&'static str>) {
        let four = self.dhcp4.as_ref().map(|(client, _)| client.state());
        let four = four.or(self.plan.dhcp4.then_some("no carrier"));
        (four, self.dhcp6.as_ref().map(|(client, _)| client.state()))
    }

    /// Addresses it should have.
    pub fn wanted_addresses(&self, now: Instant) -> Vec<WantedAddress> {
        let fixed = self.plan.addresses.iter().map(|net| WantedAddress {
            net: *net,
            origin: Origin::Static,
            lifetimes: Lifetimes::FOREVER,
        });
        let mut wanted: Vec<WantedAddress> = fixed.collect();
        let left = |until: Option<Instant>| {
            until.map_or(u32::MAX, |until| {
                u32::try_from(until.saturating_sub(now).as_secs()).unwrap_or(u32::MAX - 1)
            })
        };
        let four = self.lease4().map(|lease| (lease.net, lease.ends_at, lease.ends_at));
        let six = self.lease6().and_then(|lease| {
            let net = Net::host(IpAddr::V6(lease.address?));
            Some((net, lease.preferred_until, lease.ends_at))
        });
        for (net, preferred_until, ends_at) in four.into_iter().chain(six) {
            if !wanted.iter().any(|wanted| wanted.net.address == net.address) && left(ends_at) > 0 {
                let lifetimes = Lifetimes { preferred_s: left(preferred_until), valid_s: left(ends_at) };
                wanted.push(WantedAddress { net, origin: Origin::Dhcp, lifetimes });
            }
        }
        wanted
    }

    /// Routes over it that should be there.
    pub fn wanted_routes(&self) -> Vec<WantedRoute> {
        let mut nets = self.plan.addresses.clone();
        nets.extend(self.lease4().map(|lease| lease.net));
        let default = |gateway: IpAddr| {
            let unspecified = if gateway.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
            Net { address: unspecified, prefix: 0 }
        };
        let route =
            |destination, gateway, how| WantedRoute::new(self.index, destination, gateway, how, &nets);
        let mut routes = Vec::new();
        for gateway in &self.plan.gateways {
            routes.push(route(default(*gateway), Some(*gateway), (Origin::Static, None)));
        }
        for fixed in &self.plan.routes {
            routes.push(route(fixed.destination, fixed.gateway, (Origin::Static, fixed.metric)));
        }
        if let Some(lease) = self.lease4() {
            // The first router only: a second with the same metric would replace it.
            if let Some(router) = lease.routers.first().map(|router| IpAddr::V4(*router)) {
                routes.push(route(default(router), Some(router), (Origin::Dhcp, None)));
            }
            for (destination, router) in &lease.routes {
                routes.push(route(*destination, router.map(IpAddr::V4), (Origin::Dhcp, None)));
            }
        }
        let mut unique: Vec<WantedRoute> = Vec::new();
        for route in routes {
            let is_same = |known: &WantedRoute| {
                known.key.destination == route.key.destination && known.key.metric == route.key.metric
            };
            if !unique.iter().any(is_same) {
                unique.push(route);
            }
        }
        unique
    }

    /// Largest packet in bytes: of the config, else of DHCP.
    pub fn wanted_mtu(&self) -> Option<u32> {
        self.plan.mtu.or_else(|| self.lease4().and_then(|lease| lease.mtu).map(u32::from))
    }

    /// Whether an address from an earlier router advertisement is no longer announced.
    pub fn is_stale(&self, address: &Address, now: Instant) -> bool {
        // `IFAPROT_KERNEL_RA`.
        let is_announced = address.protocol == 2 && address.net.address.is_ipv6();
        is_announced
            && self.prefixes_due.is_some_and(|due| due <= now)
            && self.announced.has_prefixes()
            && !self.announced.has_prefix(address.net.address)
    }

    /// The stale addresses were looked at.
    pub fn prefixes_are_checked(&mut self, now: Instant) {
        if self.prefixes_due.is_some_and(|due| due <= now) {
            self.prefixes_due = None;
            self.may_be_elsewhere = false;
        }
    }

    /// The duplicate address detection of the DHCPv6 address failed.
    pub fn is_duplicate(&mut self, now: Instant) -> bool {
        self.tell6(&dhcp6::Event::Duplicate, now)
    }

    /// Adds its DNS servers and domains.
    pub fn add_dns(&self, resolv: &mut resolv::Resolv) {
        resolv.add(self.plan.dns.iter().copied(), &self.name);
        resolv.add_search(self.plan.search.iter().map(String::as_str));
        if let Some(lease) = self.lease4() {
            resolv.add(lease.dns.iter().map(|server| IpAddr::V4(*server)), &self.name);
            resolv.add_search(lease.search.iter().map(String::as_str));
        }
        if let Some(lease) = self.lease6() {
            resolv.add(lease.dns.iter().map(|server| IpAddr::V6(*server)), &self.name);
            resolv.add_search(lease.search.iter().map(String::as_str));
        }
        if self.plan.accept_ra {
            resolv.add(self.announced.dns().map(IpAddr::V6), &self.name);
            resolv.add_search(self.announced.search());
        }
    }

    /// Its NTP servers.
    pub fn ntp(&self) -> Vec<IpAddr> {
        let four =
            self.lease4().into_iter().flat_map(|lease| lease.ntp.iter().map(|server| IpAddr::V4(*server)));
        let six =
            self.lease6().into_iter().flat_map(|lease| lease.ntp.iter().map(|server| IpAddr::V6(*server)));
        four.chain(six).collect()
    }

    /// Keeps leases for a restart of this program.
    pub fn save(&mut self) {
        let saved = Saved {
            mac: self.mac,
            dhcp4: self.lease4().cloned(),
            dhcp6: self.lease6().cloned(),
            announced: self.announced.clone(),
        };
        let text = serde_json::to_string(&saved).expect("leases are plain data");
        if let Err(error) = resolv::write_whole(&self.saved_at, &text) {
            self.error = Some(format!("cannot write {}: {error}", self.saved_at.display()));
        }
    }
}
