//! Identities as files, `[[identity.files]]` of the machine config: written when they change, and a service is told.
//!
//! What is written, and in which order, is of the crate `lepton-workload-api`. Files stay as they are while there is no
//! identity for them; when the host leaves its trust domain, or the machine config no longer lists them, they are removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lepton_config::IdentityFile;
use lepton_identity_control::State;
use lepton_spiffe::{Bundle, SpiffeId, X509Svid};
use lepton_workload_api::delivery::{DeliveryError, ReloadError, ReloadSignal, Reloader, Target};
use serde_json::json;
use tokio::time::Instant;

use crate::audit::{self, Actor};
use crate::log::say;
use crate::shared::Shared;

/// After a failure: a folder may be made by the service that reads the files.
const AGAIN: Duration = Duration::from_secs(5);
/// Owner alone.
const MODE: u32 = 0o400;

/// One table of the machine config.
#[derive(Debug)]
struct Wanted {
    file: IdentityFile,
    target: Target,
    /// What is in the files.
    written: Option<(Arc<X509Svid>, Arc<Bundle>)>,
    /// Whether the service has still to be told.
    tell: bool,
    is_removed: bool,
    again: Option<Instant>,
    /// The last failure that was said.
    said: Option<String>,
}

impl Wanted {
    fn new(file: IdentityFile) -> Self {
        let path = |path: &lepton_config::DeliveryPath| PathBuf::from(path.as_str());
        let target = Target {
            certificate: path(&file.certificate),
            key: path(&file.key),
            bundle: file.bundle.as_ref().map(path),
            uid: file.uid.unwrap_or(0),
            gid: file.gid.unwrap_or(0),
            mode: file.mode.as_ref().map_or(MODE, lepton_config::Mode::bits),
        };
        Self { file, target, written: None, tell: false, is_removed: false, again: None, said: None }
    }

    /// Says a failure, once until it is another one.
    fn failed(&mut self, text: String) {
        self.again = Some(Instant::now() + AGAIN);
        if self.said.as_ref() != Some(&text) {
            say(format_args!("{text}"));
            self.said = Some(text);
        }
    }
}

/// Keeps the files of the machine config as they should be, until the agent ends.
pub(crate) async fn run(shared: Arc<Shared>, reloader: Reloader) {
    let (mut files, mut states, mut changes) = (shared.files(), shared.states(), shared.cache.changes());
    let mut wanted: Vec<Wanted> = Vec::new();
    files.mark_changed();
    loop {
        if files.has_changed().unwrap_or(false) {
            let list = Arc::clone(&files.borrow_and_update());
            take(&mut wanted, &list).await;
        }
        if wanted.is_empty() {
            // Nothing to do until there is something.
            if files.changed().await.is_err() {
                return;
            }
            files.mark_changed();
            continue;
        }
        for one in &mut wanted {
            if shared.state() == State::Left {
                remove(one).await;
            } else {
                step(one, &shared, &reloader).await;
            }
        }
        let again = wanted.iter().filter_map(|one| one.again).min();
        tokio::select! {
            changed = changes.changed() => if changed.is_err() {
                return;
            },
            // Keys of a host that leaves go at once.
            _ = states.changed() => {}
            () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
            changed = files.changed() => match changed {
                Ok(()) => files.mark_changed(),
                Err(_) => return,
            }
        }
    }
}

/// Takes a new list: what it still has stays, and files that it no longer has are removed.
async fn take(wanted: &mut Vec<Wanted>, list: &[IdentityFile]) {
    let mut before = std::mem::take(wanted);
    for file in list {
        let known = before.iter().position(|one| one.file == *file);
        wanted.push(known.map_or_else(|| Wanted::new(file.clone()), |place| before.swap_remove(place)));
    }
    for mut gone in before {
        // Somebody else may write there by now.
        let paths = |target: &Target| {
            [Some(target.key.clone()), Some(target.certificate.clone()), target.bundle.clone()]
        };
        let is_used = wanted.iter().any(|one| {
            let used = paths(&one.target);
            paths(&gone.target).into_iter().flatten().any(|path| used.contains(&Some(path)))
        });
        if !is_used {
            remove(&mut gone).await;
        }
    }
}

/// Removes files that were written.
async fn remove(one: &mut Wanted) {
    if one.is_removed || one.again.is_some_and(|again| Instant::now() < again) {
        return;
    }
    let target = one.target.clone();
    one.written = None;
    match blocking(move || target.remove()).await {
        Ok(()) => (one.is_removed, one.again, one.said) = (true, None, None),
        Err(error) => one.failed(error),
    }
}

/// Writes one identity if it has changed, and tells its service.
async fn step(one: &mut Wanted, shared: &Shared, reloader: &Reloader) {
    if one.again.is_some_and(|again| Instant::now() < again) {
        return;
    }
    let id = match id(one.file.spiffe_id.as_str(), shared) {
        Ok(id) => id,
        Err(error) => return one.failed(format!("identity.files: {error}")),
    };
    if let Some((svid, bundle)) = identity(&id, shared)
        && !one
            .written
            .as_ref()
            .is_some_and(|(of, with)| Arc::ptr_eq(of, &svid) && Arc::ptr_eq(with, &bundle))
    {
        let (target, of, with) = (one.target.clone(), Arc::clone(&svid), Arc::clone(&bundle));
        match blocking(move || target.deliver(&of, &with)).await {
            Ok(is_new) => {
                (one.again, one.said, one.is_removed) = (None, None, false);
                one.tell |= is_new;
                if is_new {
                    let mut facts = audit::svid(&svid);
                    facts["certificate"] = json!(one.file.certificate.as_str());
                    facts["uid"] = json!(one.target.uid);
                    audit::record(&*shared.clock, "deliver", &Actor::agent(), facts);
                }
                one.written = Some((svid, bundle));
            }
            Err(error) => return one.failed(error),
        }
    }
    if one.tell {
        tell(one, reloader).await;
    }
}

/// Tells the service that reads the files. One that does not run reads them when it starts.
async fn tell(one: &mut Wanted, reloader: &Reloader) {
    let Some(reload) = &one.file.reload else {
        one.tell = false;
        return;
    };
    let signal = reload.signal.as_ref().map_or(Ok(ReloadSignal::default()), |signal| signal.as_str().parse());
    let told = match signal {
        Ok(signal) => reloader.reload(&reload.service, signal).await,
        Err(error) => Err(error),
    };
    match told {
        Ok(()) | Err(ReloadError::NotRunning(_)) => one.tell = false,
        Err(error) => {
            let text = chain(&error);
            one.failed(text);
        }
    }
}

/// A SPIFFE ID, or a path in the host's trust domain.
fn id(name: &str, shared: &Shared) -> Result<SpiffeId, lepton_spiffe::SpiffeIdError> {
    if name.starts_with('/') {
        return SpiffeId::new(shared.facts().trust_domain.clone(), name);
    }
    name.parse()
}

/// An identity with the bundle of its trust domain: a workload's, or the host's own.
fn identity(id: &SpiffeId, shared: &Shared) -> Option<(Arc<X509Svid>, Arc<Bundle>)> {
    let own = || {
        let own =
            shared.facts().own.clone().filter(|own| own.id == *id && shared.clock.now() < own.not_after);
        own.map(|own| (own, shared.cache.bundle()))
    };
    shared.cache.identity(id).or_else(own)
}

/// Files may be on a disk that is slow.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DeliveryError> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| chain(&error)),
        Err(_) => Err("files could not be written: the agent is stopping".to_owned()),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests;
