//! Workload attestation: what can be said of a process, as selectors. One file for each attestor.
//!
//! An attestor that finds out less gives fewer selectors, and so fewer identities: a failure never gives more.

pub mod k8s;
pub mod lepton;
pub mod unix;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use lepton_spiffe::Selector;

use crate::host::Host;
use crate::origin::{Origin, OriginError};
use crate::peer::{Peer, PeerError};

/// An attestor that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that attestors look at.
#[derive(Debug)]
pub struct Subject<'a> {
    /// Its number.
    pub pid: u32,
    /// Its user when it connected, and still.
    pub uid: u32,
    /// Its group when it connected, and still.
    pub gid: u32,
    /// Its supplementary groups when it connected.
    pub groups: &'a [u32],
    /// Where it comes from.
    pub origin: &'a Origin,
    /// Where to read of it.
    pub host: &'a Host,
}

/// What an attestor found out.
#[derive(Debug, Default)]
pub struct Found {
    /// All that is certain.
    pub selectors: BTreeSet<Selector>,
    /// What could not be found out.
    pub failure: Option<Failure>,
}

/// Why something could not be found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What was tried, on what.
    pub why: String,
    /// Whether it may be found out later.
    pub may_pass: bool,
}

impl Found {
    /// Adds a selector; one without a value is none.
    pub(crate) fn add(&mut self, kind: &str, name: &str, value: impl fmt::Display) {
        let value = value.to_string();
        if !value.is_empty()
            && let Ok(selector) = Selector::new(kind, &format!("{name}:{value}"))
        {
            self.selectors.insert(selector);
        }
    }

    /// Nothing, as something may be known later.
    pub(crate) fn later(why: impl Into<String>) -> Self {
        let mut found = Self::default();
        found.fail(why, true);
        found
    }

    /// Notes a failure.
    pub(crate) fn fail(&mut self, why: impl Into<String>, may_pass: bool) {
        self.failure = Some(Failure { why: why.into(), may_pass });
    }
}

/// A future that an attestor gives.
pub type Finding<'a> = Pin<Box<dyn Future<Output = Found> + Send + 'a>>;

/// Finds out one kind of things about processes.
pub trait Attestor: Send + Sync {
    /// The kind of its selectors.
    fn name(&self) -> &'static str;

    /// What it finds out about a process. Whether the process lived while it looked is not its concern.
    fn attest<'a>(&'a self, subject: &'a Subject<'a>) -> Finding<'a>;
}

/// All attestors of a host.
#[derive(Default)]
pub struct Attestors(Vec<Box<dyn Attestor>>);

impl fmt::Debug for Attestors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|attestor| attestor.name())).finish()
    }
}

/// Why nothing is said of a process at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttestError {
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error(transparent)]
    Origin(#[from] OriginError),
    #[error("the process went to another cgroup meanwhile")]
    Moved,
}

impl AttestError {
    /// Whether it may go well when the caller asks again.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Moved)
    }
}

/// What all attestors found out.
#[derive(Debug, Default)]
pub(crate) struct Attested {
    pub(crate) selectors: BTreeSet<Selector>,
    /// By attestor.
    pub(crate) failures: Vec<(&'static str, Failure)>,
}

impl Attested {
    /// Whether more may be known later.
    pub(crate) fn may_grow(&self) -> bool {
        self.failures.iter().any(|(_, failure)| failure.may_pass)
    }
}

impl Attestors {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, attestor: impl Attestor + 'static) -> Self {
        self.0.push(Box::new(attestor));
        self
    }

    /// What can be said of a process that connected.
    pub(crate) async fn attest(&self, peer: &Peer, host: &Host) -> Result<Attested, AttestError> {
        peer.check(host)?;
        let origin = Origin::of(host, peer.pid)?;
        let subject = Subject {
            pid: peer.pid,
            uid: peer.uid,
            gid: peer.gid,
            groups: &peer.groups,
            origin: &origin,
            host,
        };
        let mut attested = Attested::default();
        for attestor in &self.0 {
            let found = tokio::time::timeout(PATIENCE, attestor.attest(&subject)).await;
            let found =
                found.unwrap_or_else(|_| Found::later(format!("no answer within {} s", PATIENCE.as_secs())));
            attested.selectors.extend(found.selectors);
            attested.failures.extend(found.failure.map(|failure| (attestor.name(), failure)));
        }
        // All that was read was of this process, as it lives still and is where it was.
        if Origin::of(host, peer.pid)? != origin {
            return Err(AttestError::Moved);
        }
        peer.check(host)?;
        Ok(attested)
    }
}
