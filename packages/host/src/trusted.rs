//! What TLS is made of at the moment: the host's own certificate, and whom it believes. It changes while connections are open.

use std::fmt;
use std::sync::Arc;

use lepton_spiffe::{Bundle, SpiffeId, X509Svid};
use rustls::ServerConfig;
use tokio::sync::watch;

use crate::log::say;
use crate::tls;

/// Whom the machine config wants to be believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Clients {
    /// Nobody: the API is on the local socket alone.
    #[default]
    Nobody,
    /// Those that this bundle leads to.
    Bundle(Arc<Bundle>),
    /// Those of the host's own trust domain, whose bundle comes with its certificate.
    OwnDomain,
}

/// The host's certificate, and the bundle that came with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) svid: Arc<X509Svid>,
    pub(crate) bundle: Arc<Bundle>,
}

/// All of it, now.
#[derive(Clone, Default)]
pub(crate) struct Now {
    clients: Clients,
    own: Option<Own>,
    /// Made of both, when there are both.
    ready: Option<Ready>,
}

/// What connections are accepted with.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) config: Arc<ServerConfig>,
    pub(crate) host: SpiffeId,
}

/// The state, for all who look at it and those who change it.
pub(crate) struct Trusted(watch::Sender<Now>);

impl fmt::Debug for Trusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trusted(..)")
    }
}

impl Default for Trusted {
    fn default() -> Self {
        Self(watch::Sender::new(Now::default()))
    }
}

impl Trusted {
    /// What connections are accepted with; nothing while there is no certificate, or nobody to believe.
    pub(crate) fn ready(&self) -> Option<Ready> {
        self.0.borrow().ready.clone()
    }

    /// Whom to believe, also while there is no certificate to begin a connection with.
    pub(crate) fn bundle(&self) -> Option<Arc<Bundle>> {
        self.0.borrow().bundle()
    }

    /// Told each time that something has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<Now> {
        self.0.subscribe()
    }

    /// The machine config says whom to believe.
    pub(crate) fn set_clients(&self, clients: Clients) {
        self.change(|now| now.clients = clients);
    }

    /// The host has a certificate, or has none any more.
    pub(crate) fn set_own(&self, own: Option<Own>) {
        self.change(|now| now.own = own);
    }

    fn change(&self, change: impl FnOnce(&mut Now)) {
        self.0.send_if_modified(|now| {
            let before = (now.clients.clone(), now.own.clone());
            change(now);
            let has_changed = before != (now.clients.clone(), now.own.clone());
            if has_changed {
                now.ready = ready(now);
            }
            has_changed
        });
    }
}

impl Now {
    fn bundle(&self) -> Option<Arc<Bundle>> {
        match &self.clients {
            Clients::Nobody => None,
            Clients::Bundle(bundle) => Some(Arc::clone(bundle)),
            Clients::OwnDomain => self.own.as_ref().map(|own| Arc::clone(&own.bundle)),
        }
    }
}

fn ready(now: &Now) -> Option<Ready> {
    let own = now.own.as_ref()?;
    match tls::server(&own.svid, &now.bundle()?) {
        Ok(config) => Some(Ready { config: Arc::new(config), host: own.svid.id.clone() }),
        Err(error) => {
            say(format_args!("the host's certificate cannot be used: {error}"));
            None
        }
    }
}
