//! What router advertisements say beyond addresses and routes, which the kernel takes itself: DNS servers and domains
//! (RFC 8106), and which prefixes are still announced.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::address::Net;
use crate::resolv;
use crate::time::Instant;

/// More than any router needs; a hostile one must not fill memory.
const MOST: usize = 16;
const DNS_SERVERS: u8 = 25;
const DNS_SEARCH: u8 = 31;

/// Something with an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Timed<T> {
    what: T,
    /// Nothing: never.
    ends_at: Option<Instant>,
}

/// What routers of one link announced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    dns: Vec<Timed<Ipv6Addr>>,
    search: Vec<Timed<String>>,
    prefixes: Vec<Timed<Net>>,
}

impl Announced {
    /// Takes the options of an advertisement heard at `now`; malformed ones are left out.
    pub fn take_options(&mut self, bytes: &[u8], now: Instant) {
        let mut rest = bytes;
        while let Some((&[kind, units], _)) = rest.split_first_chunk::<2>() {
            let length = usize::from(units) * 8;
            // RFC 4861 section 4.6: a length of 0 makes the whole packet invalid.
            let Some((option, after)) = rest.split_at_checked(length).filter(|_| length > 0) else { return };
            if option.len() >= 8 {
                let seconds = u32::from_be_bytes([option[4], option[5], option[6], option[7]]);
                self.take(kind, &option[8..], seconds, now);
            }
            rest = after;
        }
    }

    fn take(&mut self, kind: u8, value: &[u8], seconds: u32, now: Instant) {
        match kind {
            DNS_SERVERS => {
                for sixteen in value.chunks_exact(16) {
                    let address = Ipv6Addr::from(<[u8; 16]>::try_from(sixteen).expect("chunks of 16"));
                    if !address.is_unspecified() && !address.is_multicast() && !address.is_loopback() {
                        put(&mut self.dns, address, seconds, now);
                    }
                }
            }
            DNS_SEARCH => {
                for domain in resolv::labels(value) {
                    put(&mut self.search, domain, seconds, now);
                }
            }
            _ => {}
        }
    }

    /// Takes a prefix message of the kernel (`struct prefixmsg` and attributes).
    pub fn take_prefix(&mut self, message: &[u8], now: Instant) {
        const ADDRESS: u16 = 1;
        const CACHE_INFO: u16 = 2;
        let Some((head, mut rest)) = message.split_at_checked(12) else { return };
        let (mut address, mut valid_s) = (None, u32::MAX);
        while let Some((&[l0, l1, k0, k1], _)) = rest.split_first_chunk::<4>() {
            let length = usize::from(u16::from_ne_bytes([l0, l1]));
            let Some(value) = rest.get(4..length) else { break };
            match u16::from_ne_bytes([k0, k1]) {
                ADDRESS => address = <[u8; 16]>::try_from(value).ok().map(Ipv6Addr::from),
                CACHE_INFO => {
                    let four = value.get(4..8).and_then(|four| <[u8; 4]>::try_from(four).ok());
                    valid_s = four.map_or(valid_s, u32::from_ne_bytes);
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        if let Some(address) = address.filter(|_| head[9] <= 128) {
            let net = Net { address: IpAddr::V6(address), prefix: head[9] }.network();
            put(&mut self.prefixes, net, valid_s, now);
        }
    }

    /// DNS servers in the order they were first heard.
    pub fn dns(&self) -> impl Iterator<Item = Ipv6Addr> {
        self.dns.iter().map(|timed| timed.what)
    }

    /// Domains to search.
    pub fn search(&self) -> impl Iterator<Item = &str> {
        self.search.iter().map(|timed| timed.what.as_str())
    }

    /// Whether a prefix was announced, and has not ended.
    pub fn has_prefix(&self, address: IpAddr) -> bool {
        self.prefixes.iter().any(|timed| timed.what.contains(address))
    }

    /// Whether any prefix was announced.
    pub fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }

    /// Forgets prefixes, because the cable may lead somewhere else now.
    pub fn forget_prefixes(&mut self) {
        self.prefixes.clear();
    }

    /// Forgets what has ended; tells whether anything has.
    pub fn expire(&mut self, now: Instant) -> bool {
        let before = self.dns.len() + self.search.len() + self.prefixes.len();
        self.dns.retain(|timed| timed.ends_at.is_none_or(|end| end > now));
        self.search.retain(|timed| timed.ends_at.is_none_or(|end| end > now));
        self.prefixes.retain(|timed| timed.ends_at.is_none_or(|end| end > now));
        before != self.dns.len() + self.search.len() + self.prefixes.len()
    }

    /// When `expire` has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let dns = self.dns.iter().filter_map(|timed| timed.ends_at);
        let search = self.search.iter().filter_map(|timed| timed.ends_at);
        dns.chain(search).chain(self.prefixes.iter().filter_map(|timed| timed.ends_at)).min()
    }
}

/// Adds it, or gives it a new end; a lifetime of 0 takes it away.
fn put<T: PartialEq>(list: &mut Vec<Timed<T>>, what: T, seconds: u32, now: Instant) {
    let ends_at = (seconds != u32::MAX).then(|| now + Duration::from_secs(seconds.into()));
    match list.iter().position(|timed| timed.what == what) {
        Some(at) if seconds == 0 => drop(list.remove(at)),
        Some(at) => list[at].ends_at = ends_at,
        None if seconds == 0 || list.len() >= MOST => {}
        None => list.push(Timed { what, ends_at }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dns_option(lifetime: u32, address: &str) -> Vec<u8> {
        let mut option = vec![DNS_SERVERS, 3, 0, 0];
        option.extend(lifetime.to_be_bytes());
        option.extend(address.parse::<Ipv6Addr>().unwrap().octets());
        option
    }

    #[test]
    fn servers_come_and_go() {
        let mut announced = Announced::default();
        let at = Duration::from_secs;
        announced.take_options(&dns_option(60, "2001:db8::53"), at(10));
        announced.take_options(&dns_option(u32::MAX, "2001:db8::54"), at(10));
        assert_eq!(announced.dns().count(), 2);
        assert_eq!(announced.deadline(), Some(at(70)));
        assert!(!announced.expire(at(69)));
        announced.take_options(&dns_option(60, "2001:db8::53"), at(50));
        assert!(!announced.expire(at(70)), "announced again");
        assert!(announced.expire(at(110)));
        announced.take_options(&dns_option(0, "2001:db8::54"), at(111));
        assert_eq!(announced.dns().count(), 0);
    }

    #[test]
    fn domains_are_read() {
        let mut announced = Announced::default();
        let mut option = vec![DNS_SEARCH, 3, 0, 0, 0, 0, 1, 0];
        option.extend(b"\x07example\x03org\x00");
        option.resize(24, 0);
        announced.take_options(&option, Duration::ZERO);
        assert_eq!(announced.search().collect::<Vec<_>>(), ["example.org"]);
    }

    #[test]
    fn hostile_options_are_bounded() {
        let mut announced = Announced::default();
        for number in 0..100 {
            announced.take_options(&dns_option(60, &format!("2001:db8::{number:x}")), Duration::ZERO);
        }
        assert_eq!(announced.dns().count(), MOST);
        let mut random = crate::random::Random::from_seed(7);
        for _ in 0..20_000 {
            let length = random.next_u32() as usize % 80;
            let bytes: Vec<u8> = (0..length).map(|_| random.next_u8()).collect();
            announced.take_options(&bytes, Duration::ZERO);
            announced.take_prefix(&bytes, Duration::ZERO);
        }
        assert!(announced.dns().count() <= MOST && announced.search().count() <= MOST);
    }
}
