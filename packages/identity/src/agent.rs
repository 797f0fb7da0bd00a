//! The agent's loop: one thing after the other, so that no two of them change the host's identity at a time. What takes
//! long is cut off by deadlines of its own.

mod alone;
mod issue;
mod leave;
mod member;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use lepton_config::IdentityEntry;
use lepton_identity_control::{ErrorKind, State};
use lepton_spiffe::{PrivateKey, Secret, Selector, TrustDomain};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::attest::{JoinTokenAttestor, NodeAttestor};
use crate::audit::{self, Actor};
use crate::cache::Cache;
use crate::clock::{self, Clock};
use crate::files;
use crate::local::Local;
use crate::log::say;
use crate::places::Places;
use crate::server::Trust;
use crate::settings::{MachineConfig, Settings};
use crate::shared::{Command, Order, Refusal, Shared};
use member::Member;

/// Between two looks at the clock and the machine config.
const TICK: Duration = Duration::from_secs(1);
/// Between two synchronisations, as SPIRE's agent has it.
const SYNC: Duration = Duration::from_secs(5);
/// Between two writes of the cache.
const KEEP: Duration = Duration::from_secs(5);

/// The agent.
#[derive(Debug)]
pub(crate) struct Agent {
    places: Places,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
    cache: Arc<Cache>,
    config: MachineConfig,
    settings: Settings,
    /// Of a host without a name for its trust domain.
    host_id: String,
    /// Issues while there is no server, or not yet.
    local: Option<Arc<Local>>,
    member: Option<Member>,
    joining: JoinState,
    has_left: bool,
    next_sync: Instant,
    next_keep: Instant,
    failures: u32,
    jumps: clock::Watch,
}

/// About attempts to join.
#[derive(Debug)]
struct JoinState {
    /// How to prove the host; none when that is used up.
    attestor: Option<Arc<dyn NodeAttestor>>,
    /// For this key.
    key: Option<PrivateKey>,
    /// Whom to believe at first, once that is known.
    trust: Option<Trust>,
    next: Instant,
    failures: u32,
}

impl JoinState {
    fn new(attestor: Option<Arc<dyn NodeAttestor>>) -> Self {
        Self { attestor, key: None, trust: None, next: Instant::now(), failures: 0 }
    }
}

impl Agent {
    /// Reads the machine config and what is on the disk.
    pub(crate) fn new(
        places: Places,
        mut config: MachineConfig,
        clock: Arc<dyn Clock>,
        shared: impl FnOnce(TrustDomain) -> Arc<Shared>,
    ) -> Result<Self, crate::local::LocalError> {
        files::make_folder(&places.data)?;
        for path in [places.identity(), places.cache(), places.local(), places.left(), places.host_id()] {
            // What a power cut has left of a write is nothing.
            files::clean(&path)?;
        }
        let host_id = crate::local::host_id(&places.product_uuid, &places.host_id())?;
        let (settings, problems) = config.read();
        problems.iter().for_each(|problem| say(format_args!("{problem}")));
        let shared = shared(trust_domain(&settings, &host_id));
        let marker = files::read(&places.left())?;
        let has_left = marker.is_some_and(|text| *text == settings.membership.as_bytes());
        shared.facts().persistent = files::is_persistent(&places.data);
        let mut agent = Self {
            jumps: clock::Watch::new(&*clock),
            cache: Arc::clone(&shared.cache),
            joining: JoinState::new(settings.attestor.clone()),
            places,
            clock,
            shared,
            config,
            settings,
            host_id,
            local: None,
            member: None,
            has_left,
            next_sync: Instant::now(),
            next_keep: Instant::now(),
            failures: 0,
        };
        agent.begin();
        Ok(agent)
    }

    /// Takes up what was before the start, or before the machine config changed.
    fn begin(&mut self) {
        let domain = self.trust_domain();
        self.shared.facts().trust_domain = domain;
        self.shared.set_files(&self.settings.files);
        if self.has_left {
            // It may have been interrupted in that; what is wrong was said.
            let _ = self.wipe_all();
            self.cache.clear(self.trust_domain());
        }
        if !self.has_left && !self.settings.servers.is_empty() {
            self.take_up();
            if self.member.is_none() && self.local.is_none() {
                // A host that was alone serves what it served until the server's entries are there.
                self.open_former();
            }
        }
    }

    fn trust_domain(&self) -> TrustDomain {
        trust_domain(&self.settings, &self.host_id)
    }

    /// What is known of the host itself; entries may select by it.
    fn node(&self) -> Vec<Selector> {
        let image = std::fs::read_to_string(&self.places.os_release).unwrap_or_default();
        let image = image.lines().find_map(|line| line.strip_prefix("IMAGE_ID="));
        let facts = [
            ("site", self.settings.site.as_deref()),
            ("arch", Some(std::env::consts::ARCH)),
            ("image", image.map(|name| name.trim_matches('"'))),
        ];
        let selector = |(name, value): (&str, Option<&str>)| {
            Selector::new("lepton", &format!("{name}:{}", value.filter(|value| !value.is_empty())?)).ok()
        };
        facts.into_iter().filter_map(selector).collect()
    }

    /// What the host issues while it is alone: what the machine config says, and the host's own identity for the service that
    /// serves the management API on the network. Others of that service come before it.
    fn entries(&self) -> Vec<IdentityEntry> {
        let mut entries = self.settings.entries.clone();
        let path = format!("/host/{}", self.host_id).parse();
        let selector = "lepton:service:host".parse();
        if let (true, Ok(path), Ok(selector)) = (self.settings.has_api, path, selector) {
            entries.push(IdentityEntry {
                path,
                selectors: vec![selector],
                dns_names: Vec::new(),
                x509_ttl_s: None,
                jwt_ttl_s: None,
                hint: None,
            });
        }
        entries
    }

    /// Works until nobody can ask for anything any more.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            self.step().await;
            let wake = Instant::now() + TICK;
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => return,
                },
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Does what is due.
    async fn step(&mut self) {
        if self.config.has_changed() {
            self.reconfigure();
        }
        if let Some(jump) = self.jumps.jump(&*self.clock) {
            say(format_args!("the clock has jumped by {jump} seconds"));
            audit::record(&*self.clock, "clock-jump", &Actor::agent(), json!({ "seconds": jump }));
            // What was made by the other time may be over, or not yet good; and servers may be believed only now.
            self.cache.expire();
            (self.next_sync, self.joining.next) = (Instant::now(), Instant::now());
        }
        if self.has_left {
            self.shared.enter(State::Left);
        } else if self.settings.servers.is_empty() {
            self.be_alone().await;
        } else {
            self.be_member().await;
        }
        self.cache.tick();
    }

    fn reconfigure(&mut self) {
        let (settings, problems) = self.config.read();
        problems.iter().for_each(|problem| say(format_args!("{problem}")));
        let before = std::mem::replace(&mut self.settings, settings);
        self.next_sync = Instant::now();
        self.shared.set_files(&self.settings.files);
        // On the way to a server workloads keep what they had, whatever is listed now.
        if let Some(local) = self.local.as_ref().filter(|_| self.settings.servers.is_empty()) {
            local.set_entries(&self.entries(), &self.node());
        }
        if before.authority != self.settings.authority {
            // It is opened with the other one, and signs everything anew.
            self.local = None;
            self.cache.expire();
        }
        let is_other = before.membership != self.settings.membership;
        if !is_other && before.roots == self.settings.roots {
            return;
        }
        self.joining = JoinState::new(self.settings.attestor.clone());
        if is_other {
            self.has_left = false;
            if before.servers != self.settings.servers || before.trust_domain != self.settings.trust_domain {
                self.member = None;
                self.shared.facts().pool = None;
            }
            self.begin();
        }
    }

    async fn obey(&mut self, command: Command) {
        let Command { order, actor, reply } = command;
        let done = match order {
            Order::Refresh => self.refresh().await,
            Order::Join(token) => self.join_as_told(token, &actor).await,
            Order::Leave { force } => self.leave(force, &actor).await,
        };
        // Whoever asked may have gone.
        let _ = reply.send(done);
    }

    async fn refresh(&mut self) -> Result<(), Refusal> {
        if self.has_left {
            return Err((ErrorKind::Refused, "the host has left its trust domain".to_owned()));
        }
        self.cache.expire();
        if let Some(member) = &mut self.member {
            member.renew_now();
        }
        self.next_sync = Instant::now();
        self.step().await;
        let error = self.shared.facts().last_error.clone();
        match (self.shared.state(), error) {
            (State::Alone | State::Ready | State::OffSite, None) => Ok(()),
            (State::Degraded | State::Joining, error) => {
                Err((ErrorKind::Unavailable, error.unwrap_or_else(|| "no server answers".to_owned())))
            }
            (state, error) => {
                Err((ErrorKind::Refused, error.unwrap_or_else(|| format!("the host's identity is {state}"))))
            }
        }
    }

    async fn join_as_told(&mut self, token: Option<Secret>, actor: &Actor) -> Result<(), Refusal> {
        let refused = |why: &str| Err((ErrorKind::Refused, why.to_owned()));
        let failed = |error: files::FileError| (ErrorKind::Failed, error.to_string());
        if self.settings.servers.is_empty() {
            if !self.has_left {
                return refused("no server is configured: give identity.servers in the machine config");
            }
            files::wipe(&self.places.left()).map_err(failed)?;
            self.has_left = false;
            self.step().await;
            return Ok(());
        }
        let attestor = match token {
            Some(token) => Some(Arc::new(JoinTokenAttestor::new(token)) as Arc<dyn NodeAttestor>),
            None => self.settings.attestor.clone(),
        };
        let Some(attestor) = attestor else {
            return refused("there is nothing to join with: give a token, or identity.x509pop");
        };
        files::wipe(&self.places.left()).map_err(failed)?;
        self.has_left = false;
        self.joining = JoinState { trust: self.joining.trust.take(), ..JoinState::new(Some(attestor)) };
        if !self.shared.state().serves() {
            self.shared.enter(State::Joining);
        }
        if let Err(error) = self.join_now(actor).await {
            self.not_joined(&error);
            return Err(member::refusal(&error));
        }
        self.step().await;
        Ok(())
    }

    /// Whether a retry is due after that many failures: at once, then after twice as long each time.
    fn backoff(failures: u32, most: Duration) -> Duration {
        Duration::from_secs(1).saturating_mul(1 << failures.min(10)).min(most)
    }

    fn failed(&self, error: impl Into<String>) {
        self.shared.facts().last_error = Some(error.into());
    }
}

/// The one that the machine config names, else one that no other host has.
fn trust_domain(settings: &Settings, host_id: &str) -> TrustDomain {
    settings.trust_domain.clone().unwrap_or_else(|| {
        format!("host-{host_id}").parse().expect("hexadecimal digits are good in a trust domain")
    })
}
