//! Figures of the agent in the OpenMetrics text format.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lepton_identity_control::{Identity, State, Status};

/// Counters; the rest is read from the state when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    rotations: AtomicU64,
    failed_rotations: AtomicU64,
    own_rotations: AtomicU64,
    joins: AtomicU64,
    tokens: AtomicU64,
    syncs: AtomicU64,
    failed_syncs: AtomicU64,
    served: AtomicU64,
    refused: AtomicU64,
    /// By attestor.
    attest_failures: Mutex<BTreeMap<&'static str, u64>>,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn rotated(&self, made: u64, failed: u64) {
        add(&self.rotations, made);
        add(&self.failed_rotations, failed);
    }

    pub(crate) fn own_rotated(&self) {
        add(&self.own_rotations, 1);
    }

    pub(crate) fn joined(&self) {
        add(&self.joins, 1);
    }

    pub(crate) fn token_made(&self) {
        add(&self.tokens, 1);
    }

    pub(crate) fn synced(&self, well: bool) {
        add(if well { &self.syncs } else { &self.failed_syncs }, 1);
    }

    pub(crate) fn called(&self, well: bool) {
        add(if well { &self.served } else { &self.refused }, 1);
    }

    /// An attestor of nodes or of workloads did not do its work.
    pub(crate) fn attest_failed(&self, attestor: &'static str) {
        let mut failures = self.attest_failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(attestor).or_default() += 1;
    }

    /// All figures as text.
    pub(crate) fn text(&self, status: &Status, identities: &[Identity], now: i64) -> String {
        let mut text = String::new();
        head(&mut text, "svid_expiry_seconds", "gauge", "Seconds until an X.509-SVID expires.");
        for identity in identities {
            if let Some(expires_at) = identity.expires_at {
                let (id, left) = (&identity.spiffe_id, expires_at - now);
                let entry = label(&identity.entry);
                let _ = writeln!(
                    text,
                    "lepton_identity_svid_expiry_seconds{{spiffe_id=\"{id}\",entry=\"{entry}\"}} {left}"
                );
            }
        }
        head(&mut text, "state", "stateset", "Where the host is with its identity.");
        for state in State::ALL {
            let is = u8::from(state == status.state);
            let _ = writeln!(text, "lepton_identity_state{{lepton_identity_state=\"{state}\"}} {is}");
        }
        head(&mut text, "server_round_trip_seconds", "gauge", "Time of the last synchronisation.");
        for server in &status.servers {
            if let Some(micros) = server.round_trip_us {
                let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
                let address = label(&server.address);
                let _ = writeln!(
                    text,
                    "lepton_identity_server_round_trip_seconds{{server=\"{address}\"}} {whole}.{part:06}"
                );
            }
        }
        head(&mut text, "server_up", "gauge", "Whether a server answered when it was last asked.");
        for server in &status.servers {
            if let Some(answers) = server.answers {
                let address = label(&server.address);
                let _ =
                    writeln!(text, "lepton_identity_server_up{{server=\"{address}\"}} {}", u8::from(answers));
            }
        }
        for (name, help, count) in [
            ("entries", "Entries for this host.", status.entries),
            ("svids", "SVIDs that are good.", status.svids),
        ] {
            head(&mut text, name, "gauge", help);
            let _ = writeln!(text, "lepton_identity_{name} {count}");
        }
        for (name, help, counter) in [
            ("rotations", "X.509-SVIDs of workloads that were made.", &self.rotations),
            ("failed_rotations", "X.509-SVIDs that could not be made.", &self.failed_rotations),
            ("own_rotations", "X.509-SVIDs of the host itself that were renewed.", &self.own_rotations),
            ("joins", "Attestations of the host that went well.", &self.joins),
            ("jwt_svids", "JWT-SVIDs that were made.", &self.tokens),
            ("syncs", "Synchronisations that went well.", &self.syncs),
            ("failed_syncs", "Synchronisations that failed.", &self.failed_syncs),
            ("served", "Messages of the Workload API with what was asked for.", &self.served),
            ("refused", "Calls of the Workload API that were refused.", &self.refused),
        ] {
            head(&mut text, name, "counter", help);
            let _ = writeln!(text, "lepton_identity_{name}_total {}", counter.load(Ordering::Relaxed));
        }
        head(&mut text, "attest_failures", "counter", "Attestations that failed, by attestor.");
        for (attestor, count) in self.attest_failures.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let _ =
                writeln!(text, "lepton_identity_attest_failures_total{{attestor=\"{attestor}\"}} {count}");
        }
        text.push_str("# EOF\n");
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# TYPE lepton_identity_{name} {kind}\n# HELP lepton_identity_{name} {help}\n");
}

fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
