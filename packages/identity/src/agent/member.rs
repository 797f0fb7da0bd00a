//! A host with servers: joining, renewing, synchronising, and what to do when one of these fails.

use std::sync::Arc;
use std::time::Duration;

use lepton_identity_control::{ErrorKind, State};
use lepton_spiffe::{Bundle, X509Svid};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Agent, KEEP, SYNC};
use crate::audit::{self, Actor};
use crate::authority::{Authority, AuthorityError, Tainted};
use crate::fetch::fetch;
use crate::files;
use crate::join::{Joining, join};
use crate::keys;
use crate::log::say;
use crate::rotation::Due;
use crate::server::{Pool, Trust};
use crate::settings::Roots;
use crate::shared::Refusal;
use crate::store::{Kept, Membership};

/// Between two attempts to join, at most.
const REJOIN: Duration = Duration::from_secs(15);
/// After a refusal: somebody has to change something first.
const REFUSED: Duration = Duration::from_secs(60);
/// Between two attempts to renew, and to synchronise, at most.
const RETRY: Duration = Duration::from_secs(15);

/// A host that has joined.
#[derive(Debug)]
pub(super) struct Member {
    own: Membership,
    pool: Arc<Pool>,
    due: Due,
    /// After a failure to renew.
    again: Option<Instant>,
    /// The server does not know this identity any more.
    is_lost: bool,
    /// It could not be written yet.
    is_unsaved: bool,
    /// Whether the server's entries were seen since the host joined or started.
    is_synced: bool,
    /// Authorities that were tainted when the host looked last.
    tainted: Tainted,
}

impl Member {
    pub(super) fn renew_now(&mut self) {
        self.due = Due::now();
        self.again = None;
    }
}

/// An error of an authority as an answer to somebody who asked.
pub(super) fn refusal(error: &AuthorityError) -> Refusal {
    let kind = match error {
        AuthorityError::Unavailable(_) => ErrorKind::Unavailable,
        AuthorityError::Local(_) => ErrorKind::Failed,
        _ => ErrorKind::Refused,
    };
    (kind, error.to_string())
}

impl Agent {
    /// Takes up the membership that is on the disk, if it is one of the configured trust domain.
    pub(super) fn take_up(&mut self) {
        let read = Membership::read(&self.places.identity());
        let own = read.unwrap_or_else(|error| {
            say(format_args!("{error}"));
            None
        });
        let domain = self.trust_domain();
        let Some(own) = own.filter(|own| own.bundle.trust_domain == domain) else { return };
        let due = Due::of_old(own.svid.not_before, own.svid.not_after, self.clock.now());
        self.be(own, due, false);
        match Kept::read(&self.places.cache()) {
            Ok(Some(kept)) if kept.update.bundle.trust_domain == domain => {
                if let Some(member) = &self.member {
                    let authority: Arc<dyn Authority> = Arc::clone(&member.pool) as _;
                    self.cache.restore(&authority, kept);
                    // There is nothing to be bridged.
                    self.local = None;
                }
            }
            Ok(_) => {}
            Err(error) => say(format_args!("{error}")),
        }
        if !self.is_expired() {
            self.shared.enter(State::Degraded);
        }
    }

    /// The host is this now.
    fn be(&mut self, own: Membership, due: Due, is_unsaved: bool) {
        let pool = Arc::new(Pool::new(
            &self.settings.servers,
            Arc::clone(&own.svid),
            Arc::clone(&own.bundle),
            Arc::clone(&self.clock),
        ));
        {
            let mut facts = self.shared.facts();
            facts.own = Some(Arc::clone(&own.svid));
            facts.attestor = Some(own.attestor.clone());
            facts.reattestable = own.reattestable;
            facts.pool = Some(Arc::clone(&pool));
        }
        self.member = Some(Member {
            own,
            pool,
            due,
            again: None,
            is_lost: false,
            is_unsaved,
            is_synced: false,
            tainted: Tainted::default(),
        });
        self.next_sync = Instant::now();
        self.failures = 0;
    }

    fn is_expired(&self) -> bool {
        self.member.as_ref().is_none_or(|member| self.clock.now() >= member.own.svid.not_after)
    }

    /// Does what is due of a host with servers.
    pub(super) async fn be_member(&mut self) {
        let must_join = self.is_expired() || self.member.as_ref().is_some_and(|member| member.is_lost);
        if must_join && Instant::now() >= self.joining.next {
            let joined = self.join_now(&Actor::agent()).await;
            if let Err(error) = joined {
                self.not_joined(&error);
            }
        } else if self.is_expired() && self.member.is_some() && self.shared.state().serves() {
            self.shared.enter(State::Expired);
        }
        if !self.is_expired() && self.member.as_ref().is_some_and(|member| !member.is_lost) {
            let worked = self.work().await;
            self.outcome(worked);
        }
        if self.member.as_ref().is_none_or(|member| !member.is_synced) {
            self.bridge().await;
        }
        self.keep();
    }

    /// Renews, synchronises and rotates; whether any of it was due and done.
    async fn work(&mut self) -> Result<bool, AuthorityError> {
        let Some(member) = &mut self.member else { return Ok(false) };
        let now = self.clock.now();
        let waits = member.again.is_some_and(|again| Instant::now() < again);
        if member.due.is_due(now)
            && !waits
            && let Err(error) = self.renew().await
        {
            if let Some(member) = &mut self.member {
                member.again = Some(Instant::now() + RETRY);
            }
            return Err(error);
        }
        let Some(member) = &mut self.member else { return Ok(false) };
        let authority: Arc<dyn Authority> = Arc::clone(&member.pool) as _;
        let syncs = Instant::now() >= self.next_sync;
        if syncs {
            self.next_sync = Instant::now() + SYNC;
            let synced = self.synchronise(&authority).await;
            self.shared.metrics.synced(synced.is_ok());
            synced?;
            self.shared.facts().last_sync = Some(now);
            self.follow_bundle();
        }
        // Until then what is held may be the host's own.
        if self.member.as_ref().is_some_and(|member| member.is_synced) {
            self.rotate(&authority).await?;
        }
        Ok(syncs)
    }

    /// Keeps the bundle of the last synchronisation with the host's identity: after a restart servers are verified with it.
    fn follow_bundle(&mut self) {
        let (bundle, tainted, now) = (self.cache.bundle(), self.cache.tainted(), self.clock.now());
        let Some(member) = &mut self.member else { return };
        if member.tainted != tainted {
            if tainted.has_signed(&member.own.svid, now) {
                member.renew_now();
            }
            member.tainted = tainted;
        }
        if !std::mem::replace(&mut member.is_synced, true) {
            // The server's entries have taken over.
            self.local = None;
            if let Err(error) = files::wipe(&self.places.local()) {
                say(format_args!("{error}"));
            }
        }
        if member.own.bundle.x509_authorities != bundle.x509_authorities {
            member.own.bundle = bundle;
            member.is_unsaved = true;
        }
        self.save();
    }

    fn save(&mut self) {
        let Some(member) = self.member.as_mut().filter(|member| member.is_unsaved) else { return };
        match member.own.write(&self.places.identity()) {
            Ok(()) => member.is_unsaved = false,
            // It is tried again with the next synchronisation.
            Err(error) => say(format_args!("{error}")),
        }
    }

    async fn renew(&mut self) -> Result<(), AuthorityError> {
        let Some(member) = &self.member else { return Ok(()) };
        let local = |error: &dyn std::fmt::Display| AuthorityError::Local(error.to_string());
        let (key, csr) = keys::request().map_err(|error| local(&error))?;
        let chain = member.pool.renew(csr).await?;
        let svid =
            X509Svid::new(chain, key, "").map_err(|error| AuthorityError::Refused(error.to_string()))?;
        if svid.id != member.own.svid.id {
            return Err(AuthorityError::Refused(format!("the server has renewed {} instead", svid.id)));
        }
        self.renewed(Arc::new(svid));
        Ok(())
    }

    fn renewed(&mut self, svid: Arc<X509Svid>) {
        let Some(member) = &mut self.member else { return };
        member.own.svid = Arc::clone(&svid);
        member.due = Due::of_new(svid.not_before, svid.not_after);
        (member.again, member.is_unsaved) = (None, true);
        // First on the disk: as soon as the server sees the new one it takes the old one no more.
        self.save();
        if let Some(member) = &self.member {
            member.pool.set_own(Arc::clone(&svid));
        }
        self.shared.metrics.own_rotated();
        audit::record(&*self.clock, "renew", &Actor::agent(), audit::svid(&svid));
        self.shared.facts().own = Some(svid);
    }

    /// What the outcome of the work means for the state.
    fn outcome(&mut self, worked: Result<bool, AuthorityError>) {
        match worked {
            Ok(false) => {}
            Ok(true) => {
                self.failures = 0;
                self.shared.facts().last_error = None;
                let is_off_site = self.member.as_ref().is_some_and(|member| member.pool.status().is_off_site);
                self.shared.enter(if is_off_site { State::OffSite } else { State::Ready });
            }
            Err(AuthorityError::Banned(why)) => self.evicted(&why),
            Err(AuthorityError::MustAttest(why)) => {
                let can_repeat = self.joining.attestor.as_ref().is_some_and(|it| it.can_repeat());
                if can_repeat && let Some(member) = &mut self.member {
                    say(format_args!("the host joins again: {why}"));
                    member.is_lost = true;
                    self.joining.next = Instant::now();
                } else {
                    self.evicted(&why);
                }
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.next_sync = Instant::now() + Self::backoff(self.failures, RETRY);
                self.failed(error.to_string());
                self.shared.enter(State::Degraded);
            }
        }
    }

    /// Whom to believe when the host joins: the bundle of its last time here, and the one that it was given.
    async fn trust(&mut self) -> Result<Trust, AuthorityError> {
        let known = self.member.as_ref().map(|member| Arc::clone(&member.own.bundle));
        if self.joining.trust.is_none() {
            let text = match &self.settings.roots {
                Roots::Pem(pem) => Some(pem.clone().into_bytes()),
                Roots::Url { url, sha256 } => match fetch(url, sha256).await {
                    Ok(text) => Some(text),
                    // Without it a host that was here before can join, too.
                    Err(error) if known.is_some() => {
                        say(format_args!("{error}"));
                        None
                    }
                    Err(error) => return Err(AuthorityError::Unavailable(error.to_string())),
                },
                Roots::None => None,
            };
            let domain = self.trust_domain();
            self.joining.trust = match text {
                Some(text) => {
                    let bundle = Bundle::from_pem(domain, &text);
                    let bundle = bundle.map_err(|error| AuthorityError::Local(error.to_string()))?;
                    Some(Trust::Bundle(Arc::new(bundle)))
                }
                None if self.settings.is_insecure && known.is_none() => Some(Trust::Anyone(domain)),
                None => None,
            };
        }
        match (known, &self.joining.trust) {
            (Some(known), Some(Trust::Bundle(given))) => {
                let mut both = (*known).clone();
                for authority in &given.x509_authorities {
                    both.add(authority.clone()).map_err(|error| AuthorityError::Local(error.to_string()))?;
                }
                Ok(Trust::Bundle(Arc::new(both)))
            }
            (Some(known), _) => Ok(Trust::Bundle(known)),
            (None, Some(trust)) => Ok(trust.clone()),
            (None, None) => Err(AuthorityError::Local(
                "there is no trust bundle to verify servers with: give identity.trust-bundle".to_owned(),
            )),
        }
    }

    /// Joins. It is one step: before it the host is what it was, after it the host has joined.
    pub(super) async fn join_now(&mut self, actor: &Actor) -> Result<(), AuthorityError> {
        let nothing = || {
            AuthorityError::Local(
                "there is nothing to join with: give identity.join-token, identity.x509pop or a token"
                    .to_owned(),
            )
        };
        let attestor = self.joining.attestor.clone().ok_or_else(nothing)?;
        let trust = self.trust().await?;
        let key = match &self.joining.key {
            Some(key) => key.clone(),
            None => {
                let made = keys::request().map_err(|error| AuthorityError::Local(error.to_string()))?;
                self.joining.key.insert(made.0).clone()
            }
        };
        let joining = Joining {
            servers: &self.settings.servers,
            trust: &trust,
            attestor: &*attestor,
            key: &key,
            clock: &self.clock,
        };
        let joined = join(&joining).await;
        let own = match joined {
            Ok(own) => own,
            Err(error) => {
                self.shared.metrics.attest_failed(attestor.name());
                let facts = json!({ "attestor": attestor.name(), "reason": error.to_string() });
                audit::record(&*self.clock, "join-failure", actor, facts);
                if !attestor.can_repeat() && matches!(error, AuthorityError::Refused(_)) {
                    // A token is good once, and this one is not.
                    self.joining.attestor = None;
                }
                return Err(error);
            }
        };
        let written = own.write(&self.places.identity());
        if let Err(error) = &written {
            // The token is used up: the host goes on with what it has in memory, and writes it when that can be done.
            say(format_args!("{error}"));
        }
        let mut facts = audit::svid(&own.svid);
        if let Value::Object(facts) = &mut facts {
            facts.insert("attestor".to_owned(), json!(own.attestor));
        }
        audit::record(&*self.clock, "join", actor, facts);
        self.shared.metrics.joined();
        let due = Due::of_new(own.svid.not_before, own.svid.not_after);
        let repeats = attestor.can_repeat().then_some(attestor);
        self.joining =
            super::JoinState { trust: self.joining.trust.take(), ..super::JoinState::new(repeats) };
        self.be(own, due, written.is_err());
        Ok(())
    }

    /// Whether to try again, and when.
    pub(super) fn not_joined(&mut self, error: &AuthorityError) {
        self.joining.failures = self.joining.failures.saturating_add(1);
        let is_other = self.shared.facts().last_error.as_ref() != Some(&error.to_string());
        if is_other {
            say(format_args!("cannot join: {error}"));
        }
        self.failed(error.to_string());
        let (state, wait) = match error {
            AuthorityError::Banned(why) => {
                self.joining.next = Instant::now() + REFUSED;
                return self.evicted(why);
            }
            AuthorityError::Unavailable(_) => (State::Joining, Self::backoff(self.joining.failures, REJOIN)),
            _ => (State::Failed, REFUSED),
        };
        self.joining.next = Instant::now() + wait;
        let is_good = self.member.as_ref().is_some_and(|member| !member.is_lost) && !self.is_expired();
        match self.shared.state() {
            // That it was evicted says more than that it could not join again.
            State::Evicted => {}
            // An attempt of somebody who has asked for it, of a host that is well without.
            _ if is_good => {}
            _ if self.member.is_some() => self.shared.enter(State::Expired),
            _ => self.shared.enter(state),
        }
    }

    /// The server does not want the host any more: what it has of the trust domain goes.
    fn evicted(&mut self, why: &str) {
        let own = self.member.take().map(|member| member.own.svid);
        if let Some(own) = &own {
            let mut facts = audit::svid(own);
            if let Value::Object(facts) = &mut facts {
                facts.insert("reason".to_owned(), json!(why));
            }
            audit::record(&*self.clock, "evicted", &Actor::agent(), facts);
        }
        self.forget_membership();
        self.joining.next = Instant::now() + REFUSED;
        self.joining.key = None;
        self.failed(why);
        self.shared.enter(State::Evicted);
    }

    /// Wipes the membership and what came with it.
    pub(super) fn forget_membership(&mut self) {
        for path in [self.places.identity(), self.places.cache()] {
            if let Err(error) = files::wipe(&path) {
                say(format_args!("{error}"));
            }
        }
        if self.local.is_none() {
            self.cache.clear(self.trust_domain());
        }
        let mut facts = self.shared.facts();
        (facts.own, facts.pool, facts.last_sync) = (None, None, None);
    }

    /// What the server is told when the host leaves; for `leave.rs`.
    pub(super) fn pool(&self) -> Option<Arc<Pool>> {
        self.member.as_ref().map(|member| Arc::clone(&member.pool))
    }

    /// The host's own SVID; for `leave.rs`.
    pub(super) fn own(&self) -> Option<Arc<X509Svid>> {
        self.member.as_ref().map(|member| Arc::clone(&member.own.svid))
    }

    /// Writes the cache, when it has changed and not too often.
    fn keep(&mut self) {
        let is_synced = self.member.as_ref().is_some_and(|member| member.is_synced);
        if !is_synced || Instant::now() < self.next_keep {
            return;
        }
        if let Some(kept) = self.cache.keep() {
            self.next_keep = Instant::now() + KEEP;
            if let Err(error) = kept.write(&self.places.cache()) {
                say(format_args!("{error}"));
            }
        }
    }
}
