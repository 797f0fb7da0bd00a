//! A host that is alone, or still serves what it served alone.

use std::sync::Arc;

use lepton_identity_control::State;
use tokio::time::Instant;

use super::{Agent, SYNC};
use crate::authority::Authority;
use crate::local::{HOST, Local, LocalError};
use crate::log::say;

impl Agent {
    /// Does what is due of a host without servers.
    pub(super) async fn be_alone(&mut self) {
        // What the host has of a server stays on the disk: the machine config may name it again, and a token is good once.
        // Only leaving wipes it.
        self.member = None;
        match self.work_alone().await {
            Ok(()) => {
                let own = self.cache.show().into_iter().find(|shown| shown.entry.id == HOST);
                let mut facts = self.shared.facts();
                facts.own = own.and_then(|shown| shown.svid);
                (facts.attestor, facts.reattestable, facts.pool) = (None, false, None);
                facts.last_error = None;
                drop(facts);
                self.shared.enter(State::Alone);
            }
            Err(why) => {
                if self.shared.facts().last_error.as_ref() != Some(&why) {
                    say(format_args!("{why}"));
                }
                self.failed(why);
                self.shared.enter(State::Failed);
            }
        }
    }

    /// Has the host issue what its machine config says.
    pub(super) async fn work_alone(&mut self) -> Result<(), String> {
        let local = self.authority_of_host().map_err(|error| error.to_string())?;
        let is_new = local.renew(&self.places.local()).map_err(|error| error.to_string())?;
        let authority: Arc<dyn Authority> = local;
        if is_new || Instant::now() >= self.next_sync {
            self.next_sync = Instant::now() + SYNC;
            self.synchronise(&authority).await.map_err(|error| error.to_string())?;
            self.shared.facts().last_sync = Some(self.clock.now());
        }
        self.rotate(&authority).await.map_err(|error| error.to_string())
    }

    fn authority_of_host(&mut self) -> Result<Arc<Local>, LocalError> {
        let domain = self.trust_domain();
        if let Some(local) = &self.local
            && *local.host().trust_domain() == domain
        {
            return Ok(Arc::clone(local));
        }
        let path = self.places.local();
        let local = Local::open(&path, &domain, &self.host_id, Arc::clone(&self.clock))?;
        if let Some(authority) = &self.settings.authority {
            local.set_authority(authority)?;
        }
        local.set_entries(&self.entries(), &self.node());
        self.next_sync = Instant::now();
        Ok(Arc::clone(self.local.insert(Arc::new(local))))
    }

    /// Takes up the authority that the host had before servers were configured, if it had one.
    pub(super) fn open_former(&mut self) {
        let path = self.places.local();
        match Local::open_former(&path, &self.host_id, Arc::clone(&self.clock)) {
            Ok(local) => {
                if let Some(local) = &local {
                    local.set_entries(&self.entries(), &self.node());
                }
                self.local = local.map(Arc::new);
            }
            Err(error) => say(format_args!("{error}")),
        }
    }

    /// Goes on with what the host served alone, until a server's entries are there.
    pub(super) async fn bridge(&mut self) {
        let Some(local) = self.local.clone() else { return };
        let worked = match local.renew(&self.places.local()) {
            Ok(_) => {
                let authority: Arc<dyn Authority> = local;
                match self.synchronise(&authority).await {
                    Ok(()) => self.rotate(&authority).await.map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                }
            }
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = worked {
            say(format_args!("{error}"));
        }
    }
}
