//! JWT-SVIDs that were made, by entry and audience.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lepton_spiffe::{JwtSvid, UnixSeconds};

/// More are not kept: audiences are what workloads think of.
const MOST: usize = 4096;

type Key = (String, Vec<String>);

/// A token that is held.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) svid: JwtSvid,
}

impl Token {
    /// Whether it is in the first half of its life.
    pub(super) fn is_fresh(&self, now: UnixSeconds) -> bool {
        let made = self.svid.issued_at.unwrap_or(self.svid.expires_at);
        let half = made.saturating_add(self.svid.expires_at.saturating_sub(made) / 2);
        // One from the future was made before the clock was set back.
        made <= now.saturating_add(60) && now < half
    }

    /// Whether it can be used at all.
    pub(super) fn is_good(&self, now: UnixSeconds) -> bool {
        now < self.svid.expires_at
    }
}

/// All that are held.
#[derive(Debug, Default)]
pub(super) struct Tokens(Mutex<BTreeMap<Key, Token>>);

impl Tokens {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Key, Token>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, entry: &str, audience: &[String]) -> Option<Token> {
        self.held().get(&key(entry, audience)).cloned()
    }

    pub(super) fn put(&self, entry: &str, audience: &[String], svid: &JwtSvid) {
        let mut held = self.held();
        let key = key(entry, audience);
        if held.len() >= MOST && !held.contains_key(&key) {
            // The one that is over first is missed least.
            let first = held.iter().min_by_key(|(_, it)| it.svid.expires_at).map(|(key, _)| key.clone());
            first.and_then(|first| held.remove(&first));
        }
        held.insert(key, Token { svid: svid.clone() });
    }

    /// Drops those of an entry.
    pub(super) fn forget(&self, entry: &str) {
        self.held().retain(|(of, _), _| of != entry);
    }

    /// Drops those that are over.
    pub(super) fn tick(&self, now: UnixSeconds) {
        self.held().retain(|_, token| token.is_good(now));
    }

    pub(super) fn clear(&self) {
        self.held().clear();
    }
}

/// The order of an audience says nothing.
fn key(entry: &str, audience: &[String]) -> Key {
    let mut audience = audience.to_vec();
    audience.sort_unstable();
    audience.dedup();
    (entry.to_owned(), audience)
}
