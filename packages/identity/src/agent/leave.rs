//! Leaving a trust domain: the server forgets the host, and the host forgets everything.

use lepton_identity_control::{ErrorKind, State};
use serde_json::{Value, json};

use super::{Agent, member};
use crate::audit::{self, Actor};
use crate::authority::AuthorityError;
use crate::files;
use crate::log::say;
use crate::shared::Refusal;

impl Agent {
    /// Leaves. Without `force` a server must have answered, whatever it said.
    pub(super) async fn leave(&mut self, force: bool, actor: &Actor) -> Result<(), Refusal> {
        let own = self.own();
        let note = match self.pool() {
            None => None,
            Some(pool) => match pool.forget().await {
                Ok(()) | Err(AuthorityError::NoEntry) => Some("the server has forgotten the host".to_owned()),
                Err(error @ (AuthorityError::Unavailable(_) | AuthorityError::Local(_))) if !force => {
                    return Err(member::refusal(&error));
                }
                // SPIRE lets only its administrators do so.
                Err(error) => {
                    Some(format!("the server keeps its record of the host, evict it there: {error}"))
                }
            },
        };
        // A power cut from here on ends with a host that has left: this comes first, and each key that is still there then is
        // wiped at the next start.
        let failed = |error: files::FileError| (ErrorKind::Failed, error.to_string());
        files::write(&self.places.left(), self.settings.membership.as_bytes()).map_err(failed)?;
        self.has_left = true;
        self.member = None;
        self.local = None;
        let wiped = self.wipe_all();
        self.forget_membership();
        self.joining = super::JoinState::new(None);
        let mut facts = own.as_deref().map_or_else(|| json!({}), audit::svid);
        if let Value::Object(facts) = &mut facts {
            facts.insert("forced".to_owned(), json!(force));
            facts.insert("server".to_owned(), json!(note));
        }
        audit::record(&*self.clock, "leave", actor, facts);
        {
            let mut facts = self.shared.facts();
            facts.last_error = note.filter(|note| note.contains("keeps"));
            (facts.attestor, facts.reattestable) = (None, false);
        }
        self.shared.enter(State::Left);
        wiped.map_err(failed)
    }

    /// Wipes every file with a key.
    pub(super) fn wipe_all(&self) -> Result<(), files::FileError> {
        let paths = [self.places.identity(), self.places.cache(), self.places.local()];
        let wiped: Vec<_> = paths.iter().map(|path| files::wipe(path)).collect();
        wiped.into_iter().find(Result::is_err).unwrap_or(Ok(())).inspect_err(|error| {
            say(format_args!("{error}"));
        })
    }
}
