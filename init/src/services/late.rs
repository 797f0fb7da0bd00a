//! Takes a machine config that the service `config` has fetched, as far as a running host can take it: what has an effect
//! at the start alone is reported. Nothing here waits.

use std::time::Duration;

use lepton_control::{Answer, ErrorKind};

use super::Services;
use super::cgroup::service_of_process;
use super::effects::is_read_at_start;
use crate::kmsg::{self, Level};

/// The only service that may bring a config.
const FETCHER: &str = "config";

impl Services {
    /// Starts the service that fetches a config, when a source names a URL.
    pub fn start_fetching(&mut self, now: Duration) {
        if !self.host.config.layers.is_asked() {
            return;
        }
        match self.manager.find(FETCHER) {
            Some(place) => self.manager.start(place, now),
            None => self.host.config.layers.errors.push(format!(
                "url: this image has no package {FETCHER:?}, which fetches a config from a URL; give its text instead"
            )),
        }
        self.act();
    }

    /// Merges and applies a config; `source` is its name in messages.
    pub(super) fn apply_config(&mut self, source: &str, text: &str, pid: u32, now: Duration) -> Answer {
        if !is_fetcher(pid) {
            return not_allowed();
        }
        let parsed = lepton_config::parse(source, text);
        let old = match self.host.config.layers.set_fetched(parsed.config) {
            Ok(old) => old,
            Err(error) => return Answer::error(ErrorKind::Refused, error.to_string()),
        };
        kmsg::log(Level::Notice, &format!("config from {source}"));
        let mut errors: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        let (changed, failed) = self.follow_config(&old, now);
        errors.extend(failed);
        errors.extend(changed.iter().filter(|key| is_read_at_start(key)).map(|key| {
            format!(
                "{source}: {key}: it has an effect at the start of the host only; give it in another source"
            )
        }));
        for error in &errors {
            kmsg::warn(&format!("config: {error}"));
        }
        self.host.config.layers.errors = errors;
        Answer::Done
    }

    /// Shows why there is no fetched config yet.
    pub(super) fn config_failed(&mut self, message: &str, pid: u32) -> Answer {
        if !is_fetcher(pid) {
            return not_allowed();
        }
        let errors = vec![message.to_owned()];
        if self.host.config.layers.errors != errors {
            kmsg::warn(&format!("config: {message}"));
            self.host.config.layers.errors = errors;
        }
        Answer::Done
    }
}

fn is_fetcher(pid: u32) -> bool {
    service_of_process(pid).as_deref() == Some(FETCHER)
}

fn not_allowed() -> Answer {
    Answer::error(ErrorKind::NotAllowed, format!("only the service {FETCHER} may bring a config"))
}
