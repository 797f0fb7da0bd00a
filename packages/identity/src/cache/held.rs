//! Entries with their SVIDs, found by selectors, and those who wait for changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use lepton_spiffe::{Bundle, Selector, SpiffeId, TrustDomain, UnixSeconds, X509Svid};
use lepton_workload_api::View;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::authority::{AuthorityError, Entry, Tainted, Update};
use crate::rotation::Due;
use crate::store::Kept;

/// After a failure, and twice as long after each further one.
const AGAIN: Duration = Duration::from_secs(5);
const AGAIN_AT_MOST: Duration = Duration::from_secs(300);

/// An entry and what is there for it.
#[derive(Clone, Debug)]
struct Slot {
    entry: Arc<Entry>,
    svid: Option<Arc<X509Svid>>,
    due: Due,
    /// After failures: how many, and when to try again.
    failures: u32,
    again: Option<Instant>,
}

/// One identity, for people.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) entry: Arc<Entry>,
    pub(crate) svid: Option<Arc<X509Svid>>,
}

#[derive(Debug)]
pub(super) struct Held {
    slots: BTreeMap<String, Slot>,
    /// Each entry under one of its selectors: the last, which tells more than `unix:gid:0`.
    index: BTreeMap<Selector, BTreeSet<String>>,
    bundle: Arc<Bundle>,
    federated: BTreeMap<TrustDomain, Arc<Bundle>>,
    watchers: BTreeMap<BTreeSet<Selector>, watch::Sender<Arc<View>>>,
    /// Whether it is known which entries there are.
    is_known: bool,
    /// Whether the disk has another state.
    is_changed: bool,
    /// Counts changes.
    changes: watch::Sender<u64>,
    tainted: Tainted,
}

impl Held {
    pub(super) fn new(bundle: Bundle) -> Self {
        Self {
            slots: BTreeMap::new(),
            index: BTreeMap::new(),
            bundle: Arc::new(bundle),
            federated: BTreeMap::new(),
            watchers: BTreeMap::new(),
            is_known: false,
            is_changed: false,
            changes: watch::Sender::new(0),
            tainted: Tainted::default(),
        }
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(super) fn identity(&self, id: &SpiffeId, now: UnixSeconds) -> Option<(Arc<X509Svid>, Arc<Bundle>)> {
        let slots = self.slots.values().filter(|slot| slot.entry.spiffe_id == *id);
        let slots = slots.filter_map(|slot| Some((slot.entry.created_at, good(slot, now)?)));
        let (_, svid) = slots.min_by_key(|(created_at, _)| *created_at)?;
        Some((Arc::clone(svid), self.bundle()))
    }

    /// Takes an update; names of entries that are gone or have become others.
    pub(super) fn replace(&mut self, update: Update, now: UnixSeconds) -> Vec<String> {
        let Update { entries, bundle, federated, tainted } = update;
        let mut old = std::mem::take(&mut self.slots);
        let mut gone = Vec::new();
        for (id, entry) in entries {
            let before = old.remove(&id);
            if let Some(slot) = before.as_ref().filter(|slot| *slot.entry == entry) {
                self.slots.insert(id, slot.clone());
                continue;
            }
            self.is_changed = true;
            let entry = Arc::new(entry);
            let mut slot = Slot { entry, svid: None, due: Due::now(), failures: 0, again: None };
            if let Some(before) = before {
                if stays(before.svid.as_deref(), &slot.entry, &before.entry, now) {
                    (slot.svid, slot.due) = (before.svid, before.due);
                }
                gone.push(id.clone());
            }
            self.slots.insert(id, slot);
        }
        self.is_changed |= !old.is_empty() || !self.is_known;
        gone.extend(old.into_keys());
        self.set_bundles(bundle, federated);
        self.reindex();
        self.is_known = true;
        if self.tainted != tainted {
            self.tainted = tainted;
            self.hasten(now);
        }
        gone
    }

    /// What tainted authorities have signed is due now.
    fn hasten(&mut self, now: UnixSeconds) {
        for slot in self.slots.values_mut() {
            if slot.svid.as_ref().is_some_and(|svid| self.tainted.has_signed(svid, now)) {
                slot.due = Due::now();
            }
        }
    }

    pub(super) fn tainted(&self) -> &Tainted {
        &self.tainted
    }

    fn set_bundles(&mut self, bundle: Bundle, federated: BTreeMap<TrustDomain, Bundle>) {
        if *self.bundle != bundle {
            self.bundle = Arc::new(bundle);
            self.is_changed = true;
        }
        let mut before = std::mem::take(&mut self.federated);
        for (domain, bundle) in federated {
            // The same one stays the same, so that nobody is told of nothing.
            let same = before.remove(&domain).filter(|it| **it == bundle);
            self.is_changed |= same.is_none();
            self.federated.insert(domain, same.unwrap_or_else(|| Arc::new(bundle)));
        }
        self.is_changed |= !before.is_empty();
    }

    fn reindex(&mut self) {
        self.index.clear();
        for (id, slot) in &self.slots {
            if let Some(last) = slot.entry.selectors.last() {
                self.index.entry(last.clone()).or_default().insert(id.clone());
            }
        }
    }

    /// Takes an SVID, or that there is none.
    pub(super) fn put(&mut self, id: &str, made: Result<X509Svid, AuthorityError>) {
        let Some(slot) = self.slots.get_mut(id) else { return };
        match made {
            Ok(svid) if svid.id == slot.entry.spiffe_id => {
                slot.due = Due::of_new(svid.not_before, svid.not_after);
                (slot.failures, slot.again) = (0, None);
                slot.svid = Some(Arc::new(svid));
                self.is_changed = true;
            }
            _ => {
                let wait = AGAIN.saturating_mul(1 << slot.failures.min(8)).min(AGAIN_AT_MOST);
                slot.again = Some(Instant::now() + wait);
                slot.failures = slot.failures.saturating_add(1);
            }
        }
    }

    pub(super) fn restore(&mut self, kept: Kept, now: UnixSeconds) {
        let Kept { update, svids } = kept;
        self.replace(update, now);
        for (id, svid) in svids {
            if let Some(slot) = self.slots.get_mut(&id) {
                slot.due = Due::of_old(svid.not_before, svid.not_after, now);
                slot.svid = Some(svid);
            }
        }
        self.is_changed = false;
    }

    pub(super) fn keep(&mut self) -> Option<Kept> {
        if !std::mem::take(&mut self.is_changed) || !self.is_known {
            return None;
        }
        let entries = self.slots.iter().map(|(id, slot)| (id.clone(), (*slot.entry).clone())).collect();
        let federated = self.federated.iter().map(|(name, it)| (name.clone(), (**it).clone())).collect();
        let svids = self.slots.iter().filter_map(|(id, slot)| Some((id.clone(), slot.svid.clone()?)));
        let tainted = Tainted::default();
        let update = Update { entries, bundle: (*self.bundle).clone(), federated, tainted };
        Some(Kept { update, svids: svids.collect() })
    }

    pub(super) fn clear(&mut self, bundle: Bundle) {
        self.slots.clear();
        self.index.clear();
        self.federated.clear();
        self.bundle = Arc::new(bundle);
        // That there is nothing is known.
        (self.is_known, self.is_changed) = (true, false);
    }

    pub(super) fn expire(&mut self) {
        for slot in self.slots.values_mut() {
            slot.due = Due::now();
            slot.again = None;
        }
    }

    pub(super) fn due(&self, now: UnixSeconds, most: usize) -> Vec<Arc<Entry>> {
        let is_due = |slot: &&Slot| {
            let waits = slot.again.is_some_and(|again| Instant::now() < again);
            !waits && (slot.svid.is_none() || slot.due.is_due(now))
        };
        let due = || self.slots.values().filter(is_due);
        let without = due().filter(|slot| slot.svid.is_none());
        let with = due().filter(|slot| slot.svid.is_some());
        without.chain(with).take(most).map(|slot| Arc::clone(&slot.entry)).collect()
    }

    pub(super) fn missing(&self, update: &Update, now: UnixSeconds) -> Vec<Arc<Entry>> {
        let is_missing = |entry: &&Entry| {
            let slot = self.slots.get(&entry.id);
            !slot.is_some_and(|slot| {
                *slot.entry == **entry || stays(slot.svid.as_deref(), entry, &slot.entry, now)
            })
        };
        update.entries.values().filter(is_missing).map(|entry| Arc::new(entry.clone())).collect()
    }

    pub(super) fn bundle(&self) -> Arc<Bundle> {
        Arc::clone(&self.bundle)
    }

    pub(super) fn bundle_of(&self, domain: &TrustDomain) -> Option<Arc<Bundle>> {
        if self.bundle.trust_domain == *domain {
            return Some(self.bundle());
        }
        self.federated.get(domain).cloned()
    }

    pub(super) fn show(&self) -> Vec<Shown> {
        let shown = |slot: &Slot| Shown { entry: Arc::clone(&slot.entry), svid: slot.svid.clone() };
        self.slots.values().map(shown).collect()
    }

    pub(super) fn counts(&self, now: UnixSeconds) -> (u64, u64) {
        let of_workloads = || self.slots.values().filter(|slot| !slot.entry.selectors.is_empty());
        let good = of_workloads().filter(|slot| good(slot, now).is_some()).count();
        (of_workloads().count() as u64, good as u64)
    }

    pub(super) fn entries(&self, only: Option<&SpiffeId>) -> Vec<Arc<Entry>> {
        let entries = self.slots.values().map(|slot| &slot.entry);
        let is_wanted = |entry: &&Arc<Entry>| match only {
            Some(only) => entry.spiffe_id == *only,
            None => !entry.selectors.is_empty(),
        };
        entries.filter(is_wanted).cloned().collect()
    }

    /// Slots that a caller with these selectors may have, the oldest entry first.
    fn slots_of(&self, selectors: &BTreeSet<Selector>) -> Vec<&Slot> {
        let names = selectors.iter().filter_map(|selector| self.index.get(selector)).flatten();
        let slots = names.filter_map(|name| self.slots.get(name));
        let mut slots: Vec<_> = slots.filter(|slot| slot.entry.selectors.is_subset(selectors)).collect();
        slots.sort_by(|a, b| (a.entry.created_at, &a.entry.id).cmp(&(b.entry.created_at, &b.entry.id)));
        // Of several with one hint a workload gets the oldest, as the hint is to tell them apart.
        let mut hints = BTreeSet::new();
        slots.retain(|slot| slot.entry.hint.is_empty() || hints.insert(&slot.entry.hint));
        slots
    }

    pub(super) fn matching(&self, selectors: &BTreeSet<Selector>) -> Vec<Arc<Entry>> {
        self.slots_of(selectors).into_iter().map(|slot| Arc::clone(&slot.entry)).collect()
    }

    fn view(&self, selectors: &BTreeSet<Selector>, now: UnixSeconds) -> View {
        let slots = self.slots_of(selectors);
        let mut view = View::empty(Arc::clone(&self.bundle));
        view.is_settled = self.is_known && slots.iter().all(|slot| slot.svid.is_some());
        for slot in slots {
            view.svids.extend(good(slot, now).cloned());
            for domain in &slot.entry.federates_with {
                let bundle = self.federated.get(domain);
                view.federated.extend(bundle.map(|bundle| (domain.clone(), Arc::clone(bundle))));
            }
        }
        view
    }

    pub(super) fn watch(
        &mut self,
        selectors: &BTreeSet<Selector>,
        now: UnixSeconds,
    ) -> watch::Receiver<Arc<View>> {
        if let Some(sender) = self.watchers.get(selectors) {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(Arc::new(self.view(selectors, now)));
        self.watchers.insert(selectors.clone(), sender);
        receiver
    }

    /// Tells those whose view has changed. Whoever has gone is forgotten.
    pub(super) fn tell(&mut self, now: UnixSeconds) {
        self.changes.send_modify(|count| *count += 1);
        self.watchers.retain(|_, sender| sender.receiver_count() > 0);
        for (selectors, sender) in &self.watchers {
            let view = self.view(selectors, now);
            sender.send_if_modified(|before| {
                let is_other = !is_same(before, &view);
                if is_other {
                    *before = Arc::new(view);
                }
                is_other
            });
        }
    }
}

/// Its SVID, while that can be used.
fn good(slot: &Slot, now: UnixSeconds) -> Option<&Arc<X509Svid>> {
    slot.svid.as_ref().filter(|svid| now < svid.not_after)
}

/// Whether an SVID is good for an entry that has changed: only selectors and the like have.
fn stays(svid: Option<&X509Svid>, entry: &Entry, before: &Entry, now: UnixSeconds) -> bool {
    svid.is_some_and(|svid| now < svid.not_after && svid.id == entry.spiffe_id)
        && (entry.x509_ttl, &entry.dns_names, &entry.hint)
            == (before.x509_ttl, &before.dns_names, &before.hint)
}

fn is_same(before: &View, after: &View) -> bool {
    before.is_settled == after.is_settled
        && Arc::ptr_eq(&before.bundle, &after.bundle)
        && before.svids.len() == after.svids.len()
        && before.svids.iter().zip(&after.svids).all(|(a, b)| Arc::ptr_eq(a, b))
        && before.federated.len() == after.federated.len()
        && before.federated.iter().zip(&after.federated).all(|(a, b)| a.0 == b.0 && Arc::ptr_eq(a.1, b.1))
}
