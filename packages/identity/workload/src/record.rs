//! What one call tells the observer.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use lepton_spiffe::{Selector, SpiffeId};
use tonic::{Code, Status};

use crate::attest::Attested;
use crate::observer::{Caller, Event, Observer};

/// Why there is no (next) message.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    /// What the client is told.
    pub(crate) told: String,
}

impl Refusal {
    pub(crate) fn new(code: Code, told: impl Into<String>) -> Self {
        Self { code, told: told.into() }
    }
}

/// A call.
pub(crate) struct Record {
    observer: Arc<dyn Observer>,
    caller: Caller,
    call: &'static str,
    selectors: BTreeSet<Selector>,
    /// Whether more may be known of the caller later.
    may_grow: bool,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("caller", &self.caller)
            .field("call", &self.call)
            .finish_non_exhaustive()
    }
}

impl Record {
    pub(crate) fn new(observer: Arc<dyn Observer>, caller: Caller, call: &'static str) -> Self {
        Self { observer, caller, call, selectors: BTreeSet::new(), may_grow: false }
    }

    /// What was found out about the caller.
    pub(crate) fn attested(&mut self, attested: Attested) {
        for (attestor, failure) in &attested.failures {
            self.observer.saw(&Event::AttestorFailed { caller: &self.caller, attestor, why: &failure.why });
        }
        self.may_grow = attested.may_grow();
        self.selectors = attested.selectors;
    }

    pub(crate) fn selectors(&self) -> &BTreeSet<Selector> {
        &self.selectors
    }

    /// The caller gets something.
    pub(crate) fn served(&self, ids: &[SpiffeId]) {
        self.observer.saw(&Event::Served { caller: &self.caller, call: self.call, ids });
    }

    /// The caller is refused; gives what it is told.
    pub(crate) fn refused(&self, refusal: &Refusal) -> Status {
        let (code, told) = match refusal.code {
            // Nobody is told for good that nothing is his while that is not certain.
            Code::PermissionDenied if self.may_grow => {
                (Code::Unavailable, format!("{}: not all could be found out about the caller", refusal.told))
            }
            code => (code, refusal.told.clone()),
        };
        let (caller, selectors) = (&self.caller, &self.selectors);
        self.observer.saw(&Event::Refused { caller, call: self.call, code, why: &told, selectors });
        Status::new(code, told)
    }
}
