//! How long the end of all services may take.

use std::time::Duration;

use super::Manager;
use crate::services::unit::Unit;

impl Manager {
    /// How long stopping everything that runs may take: the longest chain of services that wait for each other, of
    /// which each has its own time.
    pub fn longest_stop(&self) -> Duration {
        let mut chains = vec![Duration::ZERO; self.units.len()];
        // What waits for a service comes after it in start order, so its chain is known already.
        for place in (0..self.units.len()).rev() {
            let unit = &self.units[place];
            let waits = |other: &Unit| {
                other.spec.needs.contains(&unit.spec.name) || other.spec.after.contains(&unit.spec.name)
            };
            let before = (place + 1..self.units.len()).filter(|later| waits(&self.units[*later]));
            let before = before.map(|later| chains[later]).max().unwrap_or_default();
            let own = if unit.is_alive() { unit.spec.stop_timeout_s.duration() } else { Duration::ZERO };
            chains[place] = before.saturating_add(own);
        }
        chains.into_iter().max().unwrap_or_default()
    }
}
