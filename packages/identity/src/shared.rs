//! What the agent's loop tells all others, and what they may ask of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lepton_config::IdentityFile;
use lepton_identity_control::{ErrorKind, Identity, IdentityKind, State, Status};
use lepton_spiffe::{Secret, TrustDomain, UnixSeconds, X509Svid};
use tokio::sync::{oneshot, watch};

use crate::audit::Actor;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::local::HOST;
use crate::metrics::Metrics;
use crate::server::Pool;

/// A refusal of a command: what kind it is, and why.
pub(crate) type Refusal = (ErrorKind, String);

/// What the loop is asked to do.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) order: Order,
    pub(crate) actor: Actor,
    pub(crate) reply: oneshot::Sender<Result<(), Refusal>>,
}

/// What to do.
#[derive(Debug)]
pub(crate) enum Order {
    /// Ask the authority now and make everything anew.
    Refresh,
    /// Join, with a token or as the machine config says.
    Join(Option<Secret>),
    /// Leave; the flag is for servers that do not answer.
    Leave { force: bool },
}

/// The state.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) metrics: Arc<Metrics>,
    facts: Mutex<Facts>,
    state: watch::Sender<State>,
    files: watch::Sender<Arc<[IdentityFile]>>,
    /// What PID 1 was told last.
    told: Mutex<String>,
}

/// What the loop knows.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) since: UnixSeconds,
    pub(crate) trust_domain: TrustDomain,
    pub(crate) own: Option<Arc<X509Svid>>,
    pub(crate) attestor: Option<String>,
    pub(crate) reattestable: bool,
    pub(crate) pool: Option<Arc<Pool>>,
    pub(crate) last_sync: Option<UnixSeconds>,
    pub(crate) last_error: Option<String>,
    pub(crate) persistent: bool,
}

impl Shared {
    pub(crate) fn new(
        trust_domain: TrustDomain,
        clock: Arc<dyn Clock>,
        cache: Arc<Cache>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let facts = Facts {
            since: clock.now(),
            trust_domain,
            own: None,
            attestor: None,
            reattestable: false,
            pool: None,
            last_sync: None,
            last_error: None,
            persistent: false,
        };
        let state = watch::Sender::new(State::Joining);
        let files = watch::Sender::new(Arc::from([]));
        Self { clock, cache, metrics, facts: Mutex::new(facts), state, files, told: Mutex::default() }
    }

    /// What the loop knows, to be read or changed. It is never held over an await.
    pub(crate) fn facts(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state that the host is in.
    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Every state from now on.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Which identities the machine config wants in files, each time that this changes.
    pub(crate) fn files(&self) -> watch::Receiver<Arc<[IdentityFile]>> {
        self.files.subscribe()
    }

    /// The machine config wants these.
    pub(crate) fn set_files(&self, files: &[IdentityFile]) {
        self.files.send_if_modified(|before| {
            let is_other = **before != *files;
            if is_other {
                *before = files.into();
            }
            is_other
        });
    }

    /// The host is in that state now.
    pub(crate) fn enter(&self, state: State) {
        if self.state() != state {
            self.facts().since = self.clock.now();
            let before = self.state.send_replace(state);
            crate::log::say(format_args!("the host's identity is {state} now, it was {before}"));
        }
        self.tell();
    }

    /// Shows the state beside the service.
    fn tell(&self) {
        let facts = self.facts();
        let error = facts.last_error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let text = format!("{} in {}{error}", self.state(), facts.trust_domain);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != text {
            lepton_notify::status(&text);
            *told = text;
        }
    }

    /// For people and programs.
    pub(crate) fn status(&self) -> Status {
        let facts = self.facts().clone();
        let pool = facts.pool.as_ref().map(|pool| pool.status()).unwrap_or_default();
        let (entries, svids) = self.cache.counts();
        let own = facts.own.as_deref();
        Status {
            state: self.state(),
            since: facts.since,
            trust_domain: facts.trust_domain.to_string(),
            spiffe_id: own.map(|svid| svid.id.to_string()),
            serial: own.map(|svid| svid.serial.clone()),
            not_before: own.map(|svid| svid.not_before),
            expires_at: own.map(|svid| svid.not_after),
            expires_in_s: own.map(|svid| svid.not_after - self.clock.now()),
            attestor: facts.attestor,
            reattestable: facts.reattestable,
            server: pool.server,
            servers: pool.servers,
            entries,
            svids,
            last_sync: facts.last_sync,
            last_error: facts.last_error,
            bundle_sequence: self.cache.bundle().sequence,
            persistent: facts.persistent,
        }
    }

    /// The host's identity, then those of its workloads.
    pub(crate) fn identities(&self) -> Vec<Identity> {
        let own = self.facts().own.clone();
        let host = own.map(|svid| Identity {
            kind: IdentityKind::Host,
            spiffe_id: svid.id.to_string(),
            entry: String::new(),
            selectors: Vec::new(),
            dns_names: svid.dns_names.clone(),
            hint: String::new(),
            serial: Some(svid.serial.clone()),
            not_before: Some(svid.not_before),
            expires_at: Some(svid.not_after),
            capped_from_s: None,
            federates_with: Vec::new(),
        });
        let mut workloads: Vec<_> = self
            .cache
            .show()
            .into_iter()
            .filter(|shown| shown.entry.id != HOST)
            .map(|shown| {
                let (entry, svid) = (shown.entry, shown.svid);
                Identity {
                    kind: IdentityKind::Workload,
                    spiffe_id: entry.spiffe_id.to_string(),
                    entry: entry.id.clone(),
                    selectors: entry.selectors.iter().map(ToString::to_string).collect(),
                    dns_names: entry.dns_names.clone(),
                    hint: entry.hint.clone(),
                    serial: svid.as_ref().map(|svid| svid.serial.clone()),
                    not_before: svid.as_ref().map(|svid| svid.not_before),
                    expires_at: svid.as_ref().map(|svid| svid.not_after),
                    capped_from_s: svid.as_ref().and_then(|svid| entry.capped_from(svid)),
                    federates_with: entry.federates_with.iter().map(ToString::to_string).collect(),
                }
            })
            .collect();
        workloads.sort_by(|a, b| (&a.spiffe_id, &a.entry).cmp(&(&b.spiffe_id, &b.entry)));
        host.into_iter().chain(workloads).collect()
    }
}
