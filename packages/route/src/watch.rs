//! Keeps the table up to date: asks kubelet for its pods, often enough that a pod is left out before it is ended.
//!
//! Kubelet forgets a pod of a manifest before it runs the pod's preStop, so that this has as long as that takes. When
//! kubelet is away the table stays as it is: routes that may be stale are better than none.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use lepton_kubelet_client::{Kubelet, KubeletError, List};

use crate::log::say;
use crate::pods;
use crate::roster::Roster;
use crate::router::Router;
use crate::table::Table;

/// Between two lists while there are routes.
const SHORT: Duration = Duration::from_millis(250);
/// While there are none, while kubelet is away, and at most.
const LONG: Duration = Duration::from_secs(1);
/// How many times as long as the last list took it rests: kubelet has other things to do.
const SHARE: u32 = 20;

struct Watch {
    router: Arc<Router>,
    kubelet: Kubelet,
    roster: Roster,
    /// Of the last list.
    digest: Option<u64>,
    /// What was said of the last list.
    problems: Vec<String>,
    /// Why there was no list the last time.
    failure: Option<String>,
    summary: String,
}

/// Goes on for ever.
pub(crate) async fn run(router: Arc<Router>, kubelet: Kubelet) {
    let mut watch = Watch {
        router,
        kubelet,
        roster: Roster::default(),
        digest: None,
        problems: Vec::new(),
        failure: None,
        summary: String::new(),
    };
    loop {
        let rest = watch.step().await;
        for endpoint in watch.router.table().routes().flat_map(|route| &route.endpoints) {
            endpoint.sweep();
        }
        tokio::time::sleep(rest).await;
    }
}

impl Watch {
    /// Takes one list; says how long to wait for the next.
    async fn step(&mut self) -> Duration {
        if !self.kubelet.is_known() {
            self.tell("waits for kubelet".to_owned());
            return LONG;
        }
        let started = Instant::now();
        let totals = &self.router.totals;
        totals.polls.fetch_add(1, Ordering::Relaxed);
        match self.kubelet.pods().await {
            Ok(list) => {
                totals.is_kubelet_up.store(1, Ordering::Relaxed);
                self.take(&list);
            }
            Err(error) => {
                totals.failed_polls.fetch_add(1, Ordering::Relaxed);
                totals.is_kubelet_up.store(0, Ordering::Relaxed);
                self.has_failed(&error);
                return LONG;
            }
        }
        if self.router.table().routes().next().is_none() {
            return LONG;
        }
        (started.elapsed() * SHARE).clamp(SHORT, LONG)
    }

    fn take(&mut self, list: &List) {
        let now = Instant::now();
        let has_returned = self.failure.take().is_some();
        if has_returned {
            say(format_args!("kubelet answers again"));
        }
        if list.was_cut || has_returned {
            self.roster.kubelet_returned(now);
        }
        let mut hasher = DefaultHasher::new();
        list.bytes.hash(&mut hasher);
        let digest = Some(hasher.finish());
        if self.digest == digest && self.roster.is_settled(now) && !list.was_cut && !has_returned {
            return;
        }
        match pods::read(&list.bytes) {
            Ok(mut reading) => {
                self.digest = digest;
                let problems = std::mem::take(&mut reading.problems);
                for problem in problems.iter().filter(|problem| !self.problems.contains(problem)) {
                    say(format_args!("{problem}"));
                }
                self.problems = problems;
                let targets = self.roster.update(reading, now);
                let table = Table::following(&self.router.table(), targets);
                let summary = table.summary();
                self.router.set_table(table);
                self.tell(summary);
            }
            Err(error) => say(format_args!("kubelet's list of pods makes no sense: {error}")),
        }
    }

    fn has_failed(&mut self, error: &KubeletError) {
        let failure = chain(error);
        if self.failure.as_ref() != Some(&failure) {
            say(format_args!("kubelet: {failure}; routes stay as they are"));
            lepton_notify::status(&format!("{}; kubelet is out of reach", self.router.table().summary()));
            self.summary.clear();
            self.failure = Some(failure);
        }
    }

    /// Shows how things are, once.
    fn tell(&mut self, summary: String) {
        if self.summary != summary {
            lepton_notify::status(&summary);
            self.summary = summary;
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
