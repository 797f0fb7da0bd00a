//! What becomes of services, for those who follow it: every change of a state that others can see, once and in order.

use std::time::Duration;

use lepton_control::ServiceState;

use super::Manager;
use crate::services::unit::{Next, State};

/// A service came into another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub place: usize,
    /// When.
    pub at: Duration,
    /// The state before; none for a service that is new.
    pub before: Option<ServiceState>,
    /// The state after.
    pub state: ServiceState,
    /// How often it had been started.
    pub starts: u32,
}

impl Manager {
    /// Changes since the last call, in order.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Enters a state.
    pub(super) fn enter(&mut self, place: usize, state: State, now: Duration) {
        let before = self.units[place].public_state();
        self.units[place].state = state;
        self.units[place].since = now;
        if before != self.units[place].public_state() {
            self.changed(place, Some(before), now);
        }
    }

    /// What is left of a service that is wanted again: it starts when nothing is.
    pub(super) fn drain_and_start(&mut self, place: usize, now: Duration) {
        let since = self.units[place].since;
        self.enter(place, State::Draining(Next::Start), now);
        self.units[place].since = since;
    }

    pub(super) fn changed(&mut self, place: usize, before: Option<ServiceState>, at: Duration) {
        let unit = &self.units[place];
        let (state, starts) = (unit.public_state(), unit.starts());
        self.changes.push(Change { place, at, before, state, starts });
    }
}
