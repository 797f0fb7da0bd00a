//! The host as its own trust domain: an authority whose keys never leave it, for entries of the machine config.

mod generation;
pub(crate) mod given;
mod host_id;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lepton_config::IdentityEntry;
use lepton_spiffe::{Bundle, JwtAuthority, JwtSvid, PublicKey, Selector, SpiffeId, TrustDomain, UnixSeconds};

use crate::authority::{Authority, AuthorityError, Chain, Csr, Entry, Soon, Tainted, Update};
use crate::clock::Clock;
use crate::files::FileError;
use crate::log::say;
use generation::{Generation, LIFE};
pub(crate) use given::AuthorityTexts;
use given::Given;
pub(crate) use host_id::host_id;

/// What certificates and tokens of an entry are good for that says nothing.
const X509_TTL: i64 = 3600;
const JWT_TTL: i64 = 300;
/// Clocks of workloads differ by so much.
const BACK: i64 = 10;
/// Name of the host's own entry, which no workload has.
pub(crate) const HOST: &str = "host";

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum LocalError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key or a certificate cannot be made.
    #[error("cannot make the host's authority: {0}")]
    Make(#[from] rcgen::Error),
    /// A key of it is no key.
    #[error("the host's authority has a key that cannot be used")]
    Key,
    /// The machine config gives one that is no good.
    #[error("identity.authority: {0}")]
    Given(String),
}

/// The authority.
#[derive(Debug)]
pub(crate) struct Local {
    clock: Arc<dyn Clock>,
    trust_domain: TrustDomain,
    host: SpiffeId,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// Oldest first; there is always one.
    generations: Vec<Generation>,
    /// Signs certificates in their place.
    given: Option<Given>,
    entries: BTreeMap<String, Entry>,
    /// Counts changes of the bundle.
    sequence: u64,
}

impl Local {
    /// The authority whose keys are in that file; it is made when there is none of this host and trust domain.
    pub(crate) fn open(
        path: &Path,
        trust_domain: &TrustDomain,
        host_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LocalError> {
        let host = SpiffeId::new(trust_domain.clone(), &format!("/host/{host_id}"));
        let host = host.map_err(|_| LocalError::Key)?;
        let stored = store::read(path, trust_domain, host_id)?;
        let is_new = stored.is_none();
        let (generations, sequence) = stored.unwrap_or_default();
        let held = Mutex::new(Held { generations, given: None, entries: BTreeMap::new(), sequence });
        let local = Self { clock, trust_domain: trust_domain.clone(), host, held };
        local.renew(path)?;
        if is_new {
            say(format_args!("the host is the trust domain {trust_domain} now"));
        }
        Ok(local)
    }

    /// The authority that the host had in whichever trust domain, if it had one.
    pub(crate) fn open_former(
        path: &Path,
        host_id: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Option<Self>, LocalError> {
        let domain = store::trust_domain(path)?;
        domain.map(|domain| Self::open(path, &domain, host_id, clock)).transpose()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host's own SPIFFE ID.
    pub(crate) fn host(&self) -> &SpiffeId {
        &self.host
    }

    /// Has certificates signed by an authority of the machine config.
    pub(crate) fn set_authority(&self, texts: &AuthorityTexts) -> Result<(), LocalError> {
        let given = Given::new(texts, &self.host)?;
        let mut held = self.held();
        held.given = Some(given);
        // The bundle is another one.
        held.sequence += 1;
        Ok(())
    }

    /// Makes a new generation when it is time, and drops those that are over; says whether anything has changed.
    pub(crate) fn renew(&self, path: &Path) -> Result<bool, LocalError> {
        let now = self.clock.now();
        let mut held = self.held();
        let mut generations: Vec<_> =
            held.generations.iter().filter(|it| it.not_after > now).cloned().collect();
        let count = generations.len();
        // One that begins later than now was made with another clock.
        let is_young = |it: &Generation| it.not_before <= now && now < it.not_before + LIFE / 2;
        if !generations.last().is_some_and(is_young) {
            generations.push(Generation::new(&self.trust_domain, now)?);
        }
        if count == held.generations.len() && generations.len() == count {
            return Ok(false);
        }
        let sequence = held.sequence + 1;
        // On the disk first: nobody may have an SVID of an authority that is forgotten.
        store::write(path, &self.trust_domain, &self.host, &generations, sequence)?;
        held.generations = generations;
        held.sequence = sequence;
        Ok(true)
    }

    /// What the machine config says. Entries that select by the host itself are this host's or they are left out.
    pub(crate) fn set_entries(&self, entries: &[IdentityEntry], node: &[Selector]) {
        let mut held = self.held();
        let made =
            entries.iter().enumerate().filter_map(|(place, entry)| match self.entry(place, entry, node) {
                Ok(entry) => entry,
                Err(why) => {
                    say(format_args!("identity.entries[{place}]: {why}"));
                    None
                }
            });
        held.entries = made.map(|entry| (entry.id.clone(), entry)).collect();
    }

    fn entry(&self, place: usize, of: &IdentityEntry, node: &[Selector]) -> Result<Option<Entry>, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let mut selectors = std::collections::BTreeSet::new();
        for selector in &of.selectors {
            let selector: Selector = selector.as_str().parse().map_err(|error| text(&error))?;
            match is_of_node(&selector) {
                true if node.contains(&selector) => {}
                true => return Ok(None),
                false => drop(selectors.insert(selector)),
            }
        }
        if selectors.is_empty() {
            return Err("it selects by the host alone: every workload would be given it".to_owned());
        }
        let spiffe_id = SpiffeId::new(self.trust_domain.clone(), of.path.as_str());
        let spiffe_id = spiffe_id.map_err(|error| text(&error))?;
        Ok(Some(Entry {
            // What an entry says is its name, so that a change of one is none of the others.
            id: format!("{}#{place}", of.path),
            spiffe_id,
            selectors,
            federates_with: Default::default(),
            dns_names: of.dns_names.iter().map(ToString::to_string).collect(),
            x509_ttl: of.x509_ttl_s.map_or(X509_TTL, |it| it.get().into()),
            jwt_ttl: of.jwt_ttl_s.map_or(JWT_TTL, |it| it.get().into()),
            hint: of.hint.as_ref().map(ToString::to_string).unwrap_or_default(),
            created_at: i64::try_from(place).unwrap_or(i64::MAX),
            revision: 0,
        }))
    }

    /// What SVIDs of this host are verified with.
    pub(crate) fn bundle(&self) -> Bundle {
        let held = self.held();
        let mut bundle = Bundle::empty(self.trust_domain.clone());
        if let Some(given) = &held.given {
            // It was read before.
            let _ = bundle.add(given.root.clone());
        }
        for generation in &held.generations {
            if held.given.is_none() {
                // It was made here.
                let _ = bundle.add(generation.certificate.clone());
            }
            let key = generation.jwt.public_key().clone();
            let authority = JwtAuthority { key, expires_at: Some(generation.not_after) };
            bundle.jwt_authorities.insert(generation.jwt.key_id().to_owned(), authority);
        }
        bundle.sequence = Some(held.sequence);
        bundle
    }

    fn sign(&self, held: &Held, csr: &Csr, now: UnixSeconds) -> Result<Chain, AuthorityError> {
        let host = entry_of_host(&self.host);
        let entry = if csr.entry == HOST { Some(&host) } else { held.entries.get(&csr.entry) };
        let entry = entry.ok_or(AuthorityError::NoEntry)?;
        let key = PublicKey::from_request(&csr.der);
        let key = key.map_err(|error| AuthorityError::Local(error.to_string()))?;
        let (from, until) = (now - BACK, now.saturating_add(entry.x509_ttl));
        if let Some(given) = &held.given {
            return given.sign(&key, entry, from, until);
        }
        let generation = generation::signer(&held.generations, now)
            .ok_or_else(|| AuthorityError::Local("the host has no authority".to_owned()))?;
        generation
            .certify(&key, entry, from, until.min(generation.not_after))
            .map(|certificate| vec![certificate])
            .map_err(|error| AuthorityError::Local(error.to_string()))
    }
}

/// The entry of the host itself. It has no selectors: no workload gets it.
fn entry_of_host(host: &SpiffeId) -> Entry {
    Entry {
        id: HOST.to_owned(),
        spiffe_id: host.clone(),
        selectors: Default::default(),
        federates_with: Default::default(),
        dns_names: Vec::new(),
        x509_ttl: X509_TTL,
        jwt_ttl: JWT_TTL,
        hint: String::new(),
        created_at: -1,
        revision: 0,
    }
}

/// Selectors that are the host's and no workload's.
fn is_of_node(selector: &Selector) -> bool {
    let names = ["site:", "arch:", "image:"];
    selector.kind() == "lepton" && names.iter().any(|name| selector.value().starts_with(name))
}

impl Authority for Local {
    fn sync(&self) -> Soon<'_, Update> {
        Box::pin(async move {
            let bundle = self.bundle();
            let mut entries = self.held().entries.clone();
            entries.insert(HOST.to_owned(), entry_of_host(&self.host));
            Ok(Update { entries, bundle, federated: BTreeMap::new(), tainted: Tainted::default() })
        })
    }

    fn x509(&self, requests: Vec<Csr>) -> Soon<'_, Vec<Result<Chain, AuthorityError>>> {
        Box::pin(async move {
            let held = self.held();
            let now = self.clock.now();
            Ok(requests.iter().map(|csr| self.sign(&held, csr, now)).collect())
        })
    }

    fn jwt(&self, entry: &Entry, audience: &[String]) -> Soon<'_, JwtSvid> {
        let (entry, audience) = (entry.clone(), audience.to_vec());
        Box::pin(async move {
            let (held, now) = (self.held(), self.clock.now());
            let generation = generation::signer(&held.generations, now)
                .ok_or_else(|| AuthorityError::Local("the host has no authority".to_owned()))?;
            let until = now.saturating_add(entry.jwt_ttl).min(generation.not_after);
            let svid = generation.jwt.sign(&entry.spiffe_id, &audience, now, until);
            let mut svid = svid.ok_or_else(|| {
                AuthorityError::Local("cannot sign: the system has no random numbers".to_owned())
            })?;
            svid.hint.clone_from(&entry.hint);
            Ok(svid)
        })
    }
}

#[cfg(test)]
mod tests;
