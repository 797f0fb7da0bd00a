//! Registrations of a trust domain, and the SVIDs for them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use lepton_spiffe::{JwtSvid, Selector, SpiffeId, TrustDomain, X509Svid};
use lepton_workload_api::{Identities, JwtError, View};
use tokio::sync::watch;

use super::Authority;

/// A cache that issues by itself.
pub(crate) struct Cache {
    pub(crate) authority: Authority,
    state: Mutex<State>,
}

struct State {
    entries: Vec<(BTreeSet<Selector>, Arc<X509Svid>)>,
    federated: Vec<Authority>,
    is_settled: bool,
    watchers: Vec<(BTreeSet<Selector>, watch::Sender<Arc<View>>)>,
    /// Selectors of the last caller.
    last: BTreeSet<Selector>,
}

impl Cache {
    pub(crate) fn new(domain: &str) -> Self {
        let state = State {
            entries: Vec::new(),
            federated: Vec::new(),
            is_settled: true,
            watchers: Vec::new(),
            last: BTreeSet::new(),
        };
        Self { authority: Authority::new(domain), state: Mutex::new(state) }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap();
        change(&mut state);
        let state = &*state;
        for (selectors, sender) in &state.watchers {
            sender.send_replace(self.view(state, selectors));
        }
    }

    /// Registers an identity.
    pub(crate) fn register(&self, path: &str, hint: &str, selectors: &[&str]) -> SpiffeId {
        let id = SpiffeId::new(self.authority.domain.clone(), path).unwrap();
        let selectors = selectors.iter().map(|text| text.parse().unwrap()).collect();
        let svid = Arc::new(self.authority.issue(&id, hint));
        self.change(|state| state.entries.push((selectors, svid)));
        id
    }

    /// Forgets all identities.
    pub(crate) fn clear(&self) {
        self.change(|state| state.entries.clear());
    }

    /// New SVIDs for all.
    pub(crate) fn rotate(&self) {
        self.change(|state| {
            for (_, svid) in &mut state.entries {
                *svid = Arc::new(self.authority.issue(&svid.id, &svid.hint));
            }
        });
    }

    /// Tells all watchers what they know.
    pub(crate) fn repeat(&self) {
        self.change(|_| {});
    }

    /// Whether all registrations are known.
    pub(crate) fn settle(&self, is_settled: bool) {
        self.change(|state| state.is_settled = is_settled);
    }

    /// Everybody federates with that trust domain.
    pub(crate) fn federate(&self, authority: Authority) {
        self.change(|state| state.federated.push(authority));
    }

    /// The agent goes.
    pub(crate) fn stop(&self) {
        self.state.lock().unwrap().watchers.clear();
    }

    /// What was found out about the last caller.
    pub(crate) fn last(&self) -> Vec<String> {
        self.state.lock().unwrap().last.iter().map(ToString::to_string).collect()
    }

    /// How many calls watch.
    pub(crate) fn watched(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.watchers.iter().map(|(_, sender)| sender.receiver_count()).sum()
    }

    fn view(&self, state: &State, selectors: &BTreeSet<Selector>) -> Arc<View> {
        let is_for = |entry: &&(BTreeSet<Selector>, Arc<X509Svid>)| entry.0.is_subset(selectors);
        let bundles = state.federated.iter().map(Authority::bundle);
        Arc::new(View {
            svids: state.entries.iter().filter(is_for).map(|(_, svid)| Arc::clone(svid)).collect(),
            bundle: Arc::new(self.authority.bundle()),
            federated: bundles.map(|bundle| (bundle.trust_domain.clone(), Arc::new(bundle))).collect(),
            is_settled: state.is_settled,
        })
    }

    /// A token of anyone.
    pub(crate) fn token(&self, id: &SpiffeId, audience: &str, lifetime: i64) -> JwtSvid {
        let now = now();
        self.authority.jwt.sign(id, &[audience.to_owned()], now - 100, now + lifetime).unwrap()
    }

    /// The trust domain.
    pub(crate) fn domain(&self) -> &TrustDomain {
        &self.authority.domain
    }
}

#[expect(clippy::disallowed_methods, reason = "tokens expire by the clock of the world")]
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().try_into().unwrap()
}

impl Identities for Cache {
    fn watch(&self, selectors: &BTreeSet<Selector>) -> watch::Receiver<Arc<View>> {
        let mut state = self.state.lock().unwrap();
        let (sender, receiver) = watch::channel(self.view(&state, selectors));
        state.last = selectors.clone();
        state.watchers.push((selectors.clone(), sender));
        receiver
    }

    async fn jwt(
        &self,
        selectors: &BTreeSet<Selector>,
        audience: &[String],
        only: Option<&SpiffeId>,
    ) -> Result<Vec<JwtSvid>, JwtError> {
        let view = self.view(&self.state.lock().unwrap(), selectors);
        let wanted = view.svids.iter().filter(|svid| only.is_none_or(|only| *only == svid.id));
        let svids: Vec<JwtSvid> = wanted
            .map(|svid| {
                let token = self.authority.jwt.sign(&svid.id, audience, now(), now() + 300).unwrap();
                JwtSvid { hint: svid.hint.clone(), ..token }
            })
            .collect();
        if svids.is_empty() { Err(JwtError::NoIdentity) } else { Ok(svids) }
    }
}
