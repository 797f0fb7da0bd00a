//! The servers of a trust domain as one authority: the preferred one as long as it answers, else the next, and back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lepton_identity_control::ServerStatus;
use lepton_spiffe::{Bundle, JwtSvid, X509Svid};
use tokio::time::Instant;

use super::link::Link;
use super::tls::{Trust, config};
use crate::authority::{Authority, AuthorityError, Chain, Csr, Entry, Soon, Update};
use crate::clock::Clock;
use crate::log::say;

/// Between two looks whether a server that is preferred answers again.
const LOOKS: Duration = Duration::from_secs(10);

/// Servers of one trust domain.
#[derive(Debug)]
pub(crate) struct Pool {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    servers: Vec<Server>,
    /// Which one answered last.
    current: usize,
    looked: Instant,
    own: Arc<X509Svid>,
    bundle: Arc<Bundle>,
    /// What was wrong with entries, so that it is said once.
    problems: Vec<String>,
}

#[derive(Debug)]
struct Server {
    address: Arc<str>,
    link: Option<Link>,
    answers: Option<bool>,
    round_trip: Option<Duration>,
    last_error: Option<String>,
}

/// How the servers are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PoolStatus {
    /// The one that answered last.
    pub(crate) server: Option<String>,
    /// All of them.
    pub(crate) servers: Vec<ServerStatus>,
    /// Whether that is another one than the preferred.
    pub(crate) is_off_site: bool,
}

impl Pool {
    /// These servers, the preferred one first; `own` is what the host shows them.
    pub(crate) fn new(
        addresses: &[String],
        own: Arc<X509Svid>,
        bundle: Arc<Bundle>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let server = |address: &String| Server {
            address: address.as_str().into(),
            link: None,
            answers: None,
            round_trip: None,
            last_error: None,
        };
        let servers = addresses.iter().map(server).collect();
        let held = Held { servers, current: 0, looked: Instant::now(), own, bundle, problems: Vec::new() };
        Self { clock, held: Mutex::new(held) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the host shows this.
    pub(crate) fn set_own(&self, own: Arc<X509Svid>) {
        let mut held = self.held();
        held.own = own;
        // A connection shows what it began with.
        held.servers.iter_mut().for_each(|server| server.link = None);
    }

    /// How the servers are.
    pub(crate) fn status(&self) -> PoolStatus {
        let held = self.held();
        let servers = held.servers.iter().map(|server| ServerStatus {
            address: server.address.to_string(),
            answers: server.answers,
            round_trip_us: server.round_trip.map(|it| u64::try_from(it.as_micros()).unwrap_or(u64::MAX)),
            last_error: server.last_error.clone(),
        });
        PoolStatus {
            server: held.servers.get(held.current).map(|server| server.address.to_string()),
            servers: servers.collect(),
            is_off_site: held.current != 0,
        }
    }

    /// Which servers to ask, in this order. `looks` is for calls that may take longer, because they come by themselves.
    fn order(&self, looks: bool) -> Vec<usize> {
        let mut held = self.held();
        let all = 0..held.servers.len();
        if looks && held.looked.elapsed() >= LOOKS {
            held.looked = Instant::now();
            return all.collect();
        }
        let current = held.current;
        std::iter::once(current).chain(all.filter(|&place| place != current)).collect()
    }

    async fn link(&self, place: usize) -> Result<Link, AuthorityError> {
        let (address, own, bundle) = {
            let held = self.held();
            let server = held.servers.get(place);
            let server = server.ok_or_else(|| AuthorityError::Local("there is no server".to_owned()))?;
            if let Some(link) = &server.link {
                return Ok(link.clone());
            }
            (Arc::clone(&server.address), Arc::clone(&held.own), Arc::clone(&held.bundle))
        };
        let config = config(&Trust::Bundle(bundle), Some(&own), &self.clock);
        let config = config.map_err(|error| AuthorityError::Local(error.to_string()))?;
        let link = Link::connect(&address, config).await?;
        let mut held = self.held();
        // Meanwhile there may be something else to show; then the next call connects anew.
        let is_current = Arc::ptr_eq(&held.own, &own);
        if let Some(server) = held.servers.get_mut(place).filter(|_| is_current) {
            server.link = Some(link.clone());
        }
        Ok(link)
    }

    /// Asks one server after the other until one answers, whatever it says.
    async fn ask<T, F>(&self, looks: bool, call: impl Fn(Link) -> F) -> Result<T, AuthorityError>
    where
        F: Future<Output = Result<T, AuthorityError>>,
    {
        let own = Arc::clone(&self.held().own);
        let answer = self.ask_once(looks, &call).await;
        let is_renewed = || !Arc::ptr_eq(&own, &self.held().own);
        if matches!(answer, Err(AuthorityError::MustAttest(_))) && is_renewed() {
            // It was asked with what the host has replaced meanwhile.
            return self.ask_once(looks, &call).await;
        }
        answer
    }

    async fn ask_once<T, F>(&self, looks: bool, call: &impl Fn(Link) -> F) -> Result<T, AuthorityError>
    where
        F: Future<Output = Result<T, AuthorityError>>,
    {
        let mut failures = Vec::new();
        for place in self.order(looks) {
            let started = Instant::now();
            let answer = match self.link(place).await {
                Ok(link) => call(link).await,
                Err(error) => Err(error),
            };
            let mut held = self.held();
            let Some(server) = held.servers.get_mut(place) else { continue };
            match answer {
                Err(AuthorityError::Unavailable(why)) => {
                    if server.answers != Some(false) {
                        say(format_args!("the server {} does not answer: {why}", server.address));
                    }
                    server.answers = Some(false);
                    server.last_error = Some(why.clone());
                    server.link = None;
                    failures.push(format!("{}: {why}", server.address));
                }
                answer => {
                    if looks {
                        server.round_trip = Some(started.elapsed());
                    }
                    if server.answers == Some(false) {
                        say(format_args!("the server {} answers again", server.address));
                    }
                    server.answers = Some(true);
                    server.last_error = None;
                    held.current = place;
                    return answer;
                }
            }
        }
        Err(AuthorityError::Unavailable(format!("no server answers: {}", failures.join("; "))))
    }

    /// A new certificate for the host itself.
    pub(crate) async fn renew(&self, csr: Vec<u8>) -> Result<Chain, AuthorityError> {
        self.ask(false, |link| {
            let csr = csr.clone();
            async move { link.renew(csr).await }
        })
        .await
    }

    /// Makes the server forget the host, where it lets the host do so.
    pub(crate) async fn forget(&self) -> Result<(), AuthorityError> {
        let id = self.held().own.id.clone();
        self.ask(false, |link| {
            let id = id.clone();
            async move { link.forget(&id).await }
        })
        .await
    }
}

/// Entries and bundles.
async fn update(link: Link) -> Result<(Update, Vec<String>), AuthorityError> {
    let (entries, mut problems) = link.entries().await?;
    let (bundle, tainted) = link.bundle().await?;
    let mut federated = BTreeMap::new();
    for domain in entries.values().flat_map(|entry| &entry.federates_with) {
        if federated.contains_key(domain) || *domain == bundle.trust_domain {
            continue;
        }
        match link.federated(domain).await {
            Ok(of_domain) if of_domain.trust_domain == *domain => {
                federated.insert(domain.clone(), of_domain);
            }
            Ok(of_domain) => {
                problems.push(format!("the bundle of {domain} is one of {}", of_domain.trust_domain));
            }
            Err(AuthorityError::NoEntry | AuthorityError::Refused(_)) => {
                problems.push(format!("the server has no bundle of {domain}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((Update { entries, bundle, federated, tainted }, problems))
}

impl Authority for Pool {
    fn sync(&self) -> Soon<'_, Update> {
        Box::pin(async move {
            let (update, problems) = self.ask(true, update).await?;
            let mut held = self.held();
            if update.bundle.trust_domain != held.bundle.trust_domain {
                let other = update.bundle.trust_domain;
                return Err(AuthorityError::Refused(format!(
                    "the server is one of the trust domain {other}"
                )));
            }
            if *held.bundle != update.bundle {
                held.bundle = Arc::new(update.bundle.clone());
            }
            for problem in problems.iter().filter(|problem| !held.problems.contains(problem)) {
                say(format_args!("{problem}"));
            }
            held.problems = problems;
            Ok(update)
        })
    }

    fn x509(&self, requests: Vec<Csr>) -> Soon<'_, Vec<Result<Chain, AuthorityError>>> {
        Box::pin(async move {
            let requests = Arc::new(requests);
            self.ask(false, |link| {
                let requests = Arc::clone(&requests);
                async move { link.x509(&requests).await }
            })
            .await
        })
    }

    fn jwt(&self, entry: &Entry, audience: &[String]) -> Soon<'_, JwtSvid> {
        let (entry, audience) = (entry.clone(), audience.to_vec());
        Box::pin(async move {
            self.ask(false, |link| {
                let (entry, audience) = (entry.clone(), audience.clone());
                async move { link.jwt(&entry, &audience).await }
            })
            .await
        })
    }
}
