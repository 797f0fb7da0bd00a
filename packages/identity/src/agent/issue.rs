//! SVIDs of workloads: asked for ahead, in batches, each with a key of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use lepton_spiffe::X509Svid;
use serde_json::{Value, json};

use super::Agent;
use crate::audit::{self, Actor};
use crate::authority::{Authority, AuthorityError, Csr, Entry};
use crate::keys;

/// SVIDs in one request; between two of them workloads are served.
const BATCH: usize = 100;

type Made = BTreeMap<String, Result<X509Svid, AuthorityError>>;

impl Agent {
    /// Asks an authority for what there is, and makes what is missing of it. When it is another one than before, it takes
    /// over with all SVIDs made, so that no workload is without one.
    pub(super) async fn synchronise(&self, authority: &Arc<dyn Authority>) -> Result<(), AuthorityError> {
        let update = authority.sync().await?;
        let missing = self.cache.missing(&update);
        let takes_over = self.cache.bundle().trust_domain != update.bundle.trust_domain;
        let mut batches = missing.chunks(BATCH);
        let mut fresh = Made::new();
        if takes_over {
            for batch in batches.by_ref() {
                fresh.extend(self.make(authority, batch).await?);
            }
        } else if let Some(batch) = batches.next() {
            // Workloads are told of an entry and its SVID at once.
            fresh = self.make(authority, batch).await?;
        }
        self.cache.replace(authority, update, fresh);
        for batch in batches {
            self.cache.put(self.make(authority, batch).await?);
        }
        Ok(())
    }

    /// Makes everything anew that is due.
    pub(super) async fn rotate(&self, authority: &Arc<dyn Authority>) -> Result<(), AuthorityError> {
        loop {
            let due = self.cache.due(BATCH);
            if due.is_empty() {
                return Ok(());
            }
            match self.make(authority, &due).await {
                Ok(made) => self.cache.put(made),
                Err(error) => {
                    // Each waits a while; the host is asked for others meanwhile.
                    let failed = due.iter().map(|entry| (entry.id.clone(), Err(error.clone())));
                    self.cache.put(failed.collect());
                    return Err(error);
                }
            }
        }
    }

    async fn make(
        &self,
        authority: &Arc<dyn Authority>,
        entries: &[Arc<Entry>],
    ) -> Result<Made, AuthorityError> {
        let (mut keys, mut requests) = (Vec::new(), Vec::new());
        for entry in entries {
            let (key, der) = keys::request().map_err(|error| AuthorityError::Local(error.to_string()))?;
            keys.push(key);
            requests.push(Csr { entry: entry.id.clone(), der });
        }
        let chains = match authority.x509(requests).await {
            Ok(chains) => chains,
            Err(error) => {
                self.shared.metrics.rotated(0, entries.len() as u64);
                return Err(error);
            }
        };
        let mut made = Made::new();
        for ((entry, key), chain) in entries.iter().zip(keys).zip(chains) {
            let svid = chain.and_then(|chain| {
                let svid = X509Svid::new(chain, key, &entry.hint);
                svid.map_err(|error| AuthorityError::Refused(error.to_string()))
            });
            self.tell(entry, &svid);
            made.insert(entry.id.clone(), svid);
        }
        Ok(made)
    }

    fn tell(&self, entry: &Entry, made: &Result<X509Svid, AuthorityError>) {
        self.shared.metrics.rotated(u64::from(made.is_ok()), u64::from(made.is_err()));
        let (act, mut facts) = match made {
            Ok(svid) => ("rotate", audit::svid(svid)),
            Err(error) => (
                "rotate-failure",
                json!({ "spiffe-id": entry.spiffe_id.to_string(), "reason": error.to_string() }),
            ),
        };
        if let Value::Object(facts) = &mut facts {
            facts.insert("entry".to_owned(), json!(entry.id));
        }
        // Whoever made the entry asks why its SVIDs end early.
        if let (Ok(svid), Value::Object(facts)) = (made, &mut facts)
            && let Some(asked) = entry.capped_from(svid)
        {
            facts.insert("capped-from-s".to_owned(), json!(asked));
        }
        audit::record(&*self.clock, act, &Actor::agent(), facts);
    }
}
