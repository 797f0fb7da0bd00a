//! What workloads of this host have: entries, their SVIDs and bundles. It serves the Workload API, and knows what must be
//! made anew; making it is for the agent's loop (`work.rs`).

mod held;
mod jwt;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lepton_spiffe::{Bundle, JwtSvid, Selector, SpiffeId, TrustDomain, X509Svid};
use lepton_workload_api::{Identities, JwtError, View};
use tokio::sync::watch;

use crate::authority::{Authority, AuthorityError, Entry, Tainted, Update};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::Kept;
use held::Held;
pub(crate) use held::Shown;
use jwt::Tokens;

/// Identities of this host's workloads.
#[derive(Debug)]
pub(crate) struct Cache {
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    held: Mutex<Held>,
    tokens: Tokens,
    /// Who issues what is held.
    authority: Mutex<Option<Arc<dyn Authority>>>,
}

impl Cache {
    /// Nothing is known yet, and of no trust domain.
    pub(crate) fn new(trust_domain: TrustDomain, clock: Arc<dyn Clock>, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            metrics,
            held: Mutex::new(Held::new(Bundle::empty(trust_domain))),
            tokens: Tokens::default(),
            authority: Mutex::new(None),
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn authority(&self) -> Option<Arc<dyn Authority>> {
        self.authority.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes an update of an authority with SVIDs that were made for it. Those that are held already stay where the entry
    /// is the same.
    pub(crate) fn replace(
        &self,
        authority: &Arc<dyn Authority>,
        update: Update,
        fresh: BTreeMap<String, Result<X509Svid, AuthorityError>>,
    ) {
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(authority));
        if self.held().tainted().jwt != update.tainted.jwt {
            self.tokens.clear();
        }
        let gone = self.held().replace(update, self.clock.now());
        gone.iter().for_each(|entry| self.tokens.forget(entry));
        self.put(fresh);
    }

    /// Takes new SVIDs by entry. What could not be made is tried again later.
    pub(crate) fn put(&self, fresh: BTreeMap<String, Result<X509Svid, AuthorityError>>) {
        let mut held = self.held();
        for (entry, made) in fresh {
            held.put(&entry, made);
        }
        held.tell(self.clock.now());
    }

    /// Takes what was kept on the disk; `authority` will issue what comes then.
    pub(crate) fn restore(&self, authority: &Arc<dyn Authority>, kept: Kept) {
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(authority));
        let mut held = self.held();
        held.restore(kept, self.clock.now());
        held.tell(self.clock.now());
    }

    /// What is to be kept on the disk, when it has changed since it was asked for.
    pub(crate) fn keep(&self) -> Option<Kept> {
        self.held().keep()
    }

    /// Forgets everything: the host has left, or was evicted. Workloads are told that they have nothing.
    pub(crate) fn clear(&self, trust_domain: TrustDomain) {
        *self.authority.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tokens.clear();
        let mut held = self.held();
        held.clear(Bundle::empty(trust_domain));
        held.tell(self.clock.now());
    }

    /// Makes everything due now.
    pub(crate) fn expire(&self) {
        self.tokens.clear();
        self.held().expire();
    }

    /// Tells watchers what has changed by time alone: SVIDs that have expired.
    pub(crate) fn tick(&self) {
        let now = self.clock.now();
        self.tokens.tick(now);
        self.held().tell(now);
    }

    /// What is tainted in the bundle.
    pub(crate) fn tainted(&self) -> Tainted {
        self.held().tainted().clone()
    }

    /// Entries whose SVIDs are to be made, at most so many; first those that have none.
    pub(crate) fn due(&self, most: usize) -> Vec<Arc<Entry>> {
        self.held().due(self.clock.now(), most)
    }

    /// Of an update, entries for which there is no SVID here that could stay.
    pub(crate) fn missing(&self, update: &Update) -> Vec<Arc<Entry>> {
        self.held().missing(update, self.clock.now())
    }

    /// Whose identities are held.
    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        self.held().bundle()
    }

    /// A bundle that is held.
    pub(crate) fn bundle_of(&self, domain: &TrustDomain) -> Option<Arc<Bundle>> {
        self.held().bundle_of(domain)
    }

    /// Told each time that something has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.held().changes()
    }

    /// The SVID of a workload that is good, and the bundle that goes with it; of several the oldest entry's.
    pub(crate) fn identity(&self, id: &SpiffeId) -> Option<(Arc<X509Svid>, Arc<Bundle>)> {
        self.held().identity(id, self.clock.now())
    }

    /// Everything, for people.
    pub(crate) fn show(&self) -> Vec<Shown> {
        self.held().show()
    }

    /// How many entries and how many SVIDs that are good.
    pub(crate) fn counts(&self) -> (u64, u64) {
        self.held().counts(self.clock.now())
    }

    /// A token of an entry: one that is held, while it is in the first half of its life, else a new one.
    pub(crate) async fn token(&self, entry: &Entry, audience: &[String]) -> Result<JwtSvid, JwtError> {
        let held = self.tokens.find(&entry.id, audience);
        let now = self.clock.now();
        if let Some(token) = held.as_ref().filter(|it| it.is_fresh(now)) {
            return Ok(token.svid.clone());
        }
        let asked = match self.authority() {
            Some(authority) => authority.jwt(entry, audience).await,
            None => Err(AuthorityError::Unavailable("no server answers".to_owned())),
        };
        match asked {
            Ok(svid) => {
                self.metrics.token_made();
                self.tokens.put(&entry.id, audience, &svid);
                Ok(svid)
            }
            Err(error) => match (held.filter(|it| it.is_good(now)), error) {
                (Some(token), AuthorityError::Unavailable(_)) => Ok(token.svid),
                (_, AuthorityError::Unavailable(why)) => Err(JwtError::Unavailable(why)),
                (_, AuthorityError::NoEntry) => Err(JwtError::NoIdentity),
                (_, other) => Err(JwtError::Refused(other.to_string())),
            },
        }
    }

    /// Entries by SPIFFE ID, or all of workloads.
    pub(crate) fn entries(&self, only: Option<&SpiffeId>) -> Vec<Arc<Entry>> {
        self.held().entries(only)
    }
}

impl Identities for Cache {
    fn watch(&self, selectors: &BTreeSet<Selector>) -> watch::Receiver<Arc<View>> {
        self.held().watch(selectors, self.clock.now())
    }

    async fn jwt(
        &self,
        selectors: &BTreeSet<Selector>,
        audience: &[String],
        only: Option<&SpiffeId>,
    ) -> Result<Vec<JwtSvid>, JwtError> {
        let entries = self.held().matching(selectors);
        let mut tokens = Vec::new();
        for entry in entries.iter().filter(|entry| only.is_none_or(|only| *only == entry.spiffe_id)) {
            tokens.push(self.token(entry, audience).await?);
        }
        if tokens.is_empty() { Err(JwtError::NoIdentity) } else { Ok(tokens) }
    }
}
