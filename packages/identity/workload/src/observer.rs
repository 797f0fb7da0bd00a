//! What the server tells its owner of each call, for audit records and metrics.

use std::collections::BTreeSet;

use lepton_spiffe::{Selector, SpiffeId};
use tonic::Code;

/// Who called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its process.
    pub pid: u32,
    /// Its user when it connected.
    pub uid: u32,
    /// Its group when it connected.
    pub gid: u32,
    /// Its cgroup, where that could be read.
    pub cgroup: Option<String>,
}

/// One thing that happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A caller got something: each message of a stream is one.
    Served {
        /// Who.
        caller: &'a Caller,
        /// What it called, as the Workload API names it.
        call: &'static str,
        /// Whose SVIDs it got; empty for bundles.
        ids: &'a [SpiffeId],
    },
    /// A caller was refused.
    Refused {
        /// Who.
        caller: &'a Caller,
        /// What it called.
        call: &'static str,
        /// How it was told.
        code: Code,
        /// Why, for the host's records; it holds no secrets.
        why: &'a str,
        /// What was found out about it, as far as that went.
        selectors: &'a BTreeSet<Selector>,
    },
    /// An attestor could not find out what it should.
    AttestorFailed {
        /// About whom.
        caller: &'a Caller,
        /// Which.
        attestor: &'static str,
        /// Why.
        why: &'a str,
    },
    /// A connection was closed before anything was called.
    TurnedAway {
        /// The user of the other end, where it is known.
        uid: Option<u32>,
        /// Why.
        why: &'a str,
    },
}

/// Who is told. It must not wait: it is called between bytes of others.
pub trait Observer: Send + Sync + 'static {
    /// Something happened.
    fn saw(&self, event: &Event<'_>);
}

/// Nobody is told.
impl Observer for () {
    fn saw(&self, _: &Event<'_>) {}
}
