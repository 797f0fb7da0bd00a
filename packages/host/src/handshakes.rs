//! Places for handshakes: connections of the network whose client has not shown yet who it is. They have a bound in all, and one
//! for each address, so that a single host cannot keep others from being heard. Beyond these a connection is closed at once.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// At a time; each has a deadline.
const TOTAL: u32 = 64;
/// Of one address at a time: many callers may share one.
const PER_PEER: u32 = 8;

/// Handshakes under way.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    /// How many, by address.
    under_way: Mutex<BTreeMap<IpAddr, u32>>,
    done: AtomicU64,
    failed: AtomicU64,
    refused: [AtomicU64; 2],
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are too many in all.
    Total,
    /// There are too many of this address.
    Peer,
}

impl Refused {
    const ALL: [Self; 2] = [Self::Total, Self::Peer];

    /// For people.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Total => "too many handshakes at a time",
            Self::Peer => "too many handshakes of this address at a time",
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Peer => "address",
        }
    }

    fn index(self) -> usize {
        match self {
            Self::Total => 0,
            Self::Peer => 1,
        }
    }
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    peer: IpAddr,
    is_done: bool,
}

impl Handshakes {
    fn under_way(&self) -> MutexGuard<'_, BTreeMap<IpAddr, u32>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a connection of that address.
    pub(crate) fn begin(self: &Arc<Self>, address: IpAddr) -> Result<Place, Refused> {
        let peer = peer(address);
        let result = {
            let mut under_way = self.under_way();
            // No more addresses are kept than there are places.
            let (all, own) = (under_way.values().sum::<u32>(), under_way.get(&peer).copied().unwrap_or(0));
            match (own < PER_PEER, all < TOTAL) {
                (false, _) => Err(Refused::Peer),
                (true, false) => Err(Refused::Total),
                (true, true) => {
                    under_way.insert(peer, own + 1);
                    Ok(())
                }
            }
        };
        match result {
            Ok(()) => Ok(Place { handshakes: Arc::clone(self), peer, is_done: false }),
            Err(refused) => {
                self.refused[refused.index()].fetch_add(1, Ordering::Relaxed);
                Err(refused)
            }
        }
    }

    /// Figures in the text format of Prometheus.
    pub(crate) fn figures(&self) -> String {
        let mut text = String::new();
        let now = self.under_way().values().sum::<u32>();
        let _ = write!(
            text,
            "# HELP lepton_api_handshakes Handshakes of the management API that are under way.\n\
             # TYPE lepton_api_handshakes gauge\n\
             lepton_api_handshakes {now}\n\
             # HELP lepton_api_handshakes_ended_total Handshakes of the management API that have ended.\n\
             # TYPE lepton_api_handshakes_ended_total counter\n\
             lepton_api_handshakes_ended_total{{result=\"done\"}} {}\n\
             lepton_api_handshakes_ended_total{{result=\"failed\"}} {}\n\
             # HELP lepton_api_handshakes_refused_total Connections for whose handshake there was no place.\n\
             # TYPE lepton_api_handshakes_refused_total counter\n",
            self.done.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        );
        for refused in Refused::ALL {
            let count = self.refused[refused.index()].load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "lepton_api_handshakes_refused_total{{bound=\"{}\"}} {count}",
                refused.label()
            );
        }
        text
    }
}

impl Place {
    /// The client has shown who it is.
    pub(crate) fn done(mut self) {
        self.is_done = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.handshakes.under_way();
        if let Some(count) = under_way.get_mut(&self.peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                under_way.remove(&self.peer);
            }
        }
        let ended = if self.is_done { &self.handshakes.done } else { &self.handshakes.failed };
        ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// Who counts as one: an IPv4 address, also one that is written as IPv6; of IPv6 the /64, of which every host has all
/// addresses (RFC 4291 section 2.5.1).
fn peer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_has_a_bound_of_its_own() {
        let handshakes = Arc::new(Handshakes::default());
        for (same, other) in [
            (["192.0.2.1", "::ffff:192.0.2.1"], "192.0.2.2"),
            (["2001:db8::1", "2001:db8::ffff:0:0:1"], "2001:db8:0:1::1"),
        ] {
            let [first, second] = same.map(ip);
            let mut places: Vec<Place> =
                (0..PER_PEER - 1).map(|_| handshakes.begin(first).unwrap()).collect();
            places.push(handshakes.begin(second).unwrap());
            for address in [first, second] {
                assert_eq!(handshakes.begin(address).unwrap_err(), Refused::Peer);
            }
            drop(handshakes.begin(ip(other)).unwrap());
            places.pop().unwrap().done();
            places.push(handshakes.begin(first).unwrap());
            drop(places);
            assert!(handshakes.under_way().is_empty());
        }
        let figures = handshakes.figures();
        for line in [
            "lepton_api_handshakes 0\n",
            "lepton_api_handshakes_ended_total{result=\"done\"} 2\n",
            "lepton_api_handshakes_ended_total{result=\"failed\"} 18\n",
            "lepton_api_handshakes_refused_total{bound=\"total\"} 0\n",
            "lepton_api_handshakes_refused_total{bound=\"address\"} 4\n",
        ] {
            assert!(figures.contains(line), "{figures}");
        }
    }

    #[test]
    fn all_together_have_a_bound() {
        let handshakes = Arc::new(Handshakes::default());
        let of = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0xc000_0200 + number));
        let mut places: Vec<Place> = (0..TOTAL).map(|number| handshakes.begin(of(number)).unwrap()).collect();
        assert_eq!(handshakes.begin(of(TOTAL)).unwrap_err(), Refused::Total);
        assert!(handshakes.figures().contains("lepton_api_handshakes 64\n"));
        assert!(handshakes.figures().contains("refused_total{bound=\"total\"} 1\n"));
        places.pop();
        handshakes.begin(of(TOTAL)).unwrap();
    }
}
