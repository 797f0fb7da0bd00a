//! The other end of a client's connection.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::meter::{HasMeter, Meter};
use crate::router::Router;

/// Connections from one address, or from one network of IPv6 (/64), unless it is a trusted proxy.
const PER_CLIENT: u32 = 1024;

/// How a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As URLs begin.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A client's connection, as long as anything of it goes on.
pub(crate) struct Peer {
    router: Arc<Router>,
    /// Its address; one of IPv4 is written as that.
    pub(crate) address: IpAddr,
    /// Whether what it says of whom it speaks for is believed.
    pub(crate) is_trusted: bool,
    /// How its requests come in.
    pub(crate) scheme: Scheme,
    /// What it does.
    pub(crate) meter: Meter,
    /// The end of the router's work waits for all of these.
    _permit: OwnedSemaphorePermit,
}

impl Peer {
    /// Takes a connection in, unless that client has too many.
    pub(crate) fn enter(
        router: &Arc<Router>,
        address: IpAddr,
        scheme: Scheme,
        permit: OwnedSemaphorePermit,
    ) -> Option<Arc<Self>> {
        let address = address.to_canonical();
        let is_trusted = router.settings().trusted.iter().any(|network| network.contains(address));
        let is_let_in = router.clients.enter(address) || is_trusted;
        router.totals.connections.fetch_add(1, Ordering::Relaxed);
        let peer = Self {
            router: Arc::clone(router),
            address,
            is_trusted,
            scheme,
            meter: Meter::new(),
            _permit: permit,
        };
        if !is_let_in {
            router.totals.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        is_let_in.then(|| Arc::new(peer))
    }
}

impl HasMeter for Peer {
    fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.router.clients.leave(self.address);
        self.router.totals.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many connections each client has.
#[derive(Debug, Default)]
pub(crate) struct Clients(Mutex<BTreeMap<IpAddr, u32>>);

impl Clients {
    /// Counts one more; says whether it is within the limit.
    fn enter(&self, address: IpAddr) -> bool {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = clients.entry(network(address)).or_default();
        *count += 1;
        *count <= PER_CLIENT
    }

    fn leave(&self, address: IpAddr) {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if let Some(count) = clients.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                clients.remove(&network);
            }
        }
    }
}

/// What one client has for itself.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 64)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_has_a_limit() {
        let clients = Clients::default();
        let address = |last: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
        for last in 0..1024 {
            assert!(clients.enter(address(last)), "{last}");
        }
        assert!(!clients.enter(address(1)), "the same network");
        assert!(clients.enter(IpAddr::from([192, 0, 2, 1])));
        clients.leave(address(1));
        clients.leave(address(2));
        assert!(clients.enter(address(3)));
        for _ in 0..1024 {
            clients.leave(address(1));
        }
        clients.leave(IpAddr::from([192, 0, 2, 1]));
        assert!(clients.0.lock().unwrap().is_empty());
    }
}
