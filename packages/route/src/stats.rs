//! Counters of requests. They only ever grow; `metrics.rs` writes them down.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the histogram's buckets, in seconds.
pub(crate) const BOUNDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// Requests for one host name.
#[derive(Debug, Default)]
pub(crate) struct HostStats {
    codes: Mutex<BTreeMap<u16, u64>>,
    /// One more than there are bounds: the last one takes what is above all of them.
    buckets: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

/// What a `HostStats` says at one moment.
#[derive(Debug)]
pub(crate) struct HostFigures {
    /// Requests by status.
    pub(crate) codes: BTreeMap<u16, u64>,
    /// Requests by bucket, each without those below.
    pub(crate) buckets: [u64; BOUNDS.len() + 1],
    /// Time of all requests.
    pub(crate) seconds: f64,
}

impl HostStats {
    /// Counts a request.
    pub(crate) fn count(&self, code: u16, took: Duration) {
        let place = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
        *self.lock().entry(code).or_default() += 1;
    }

    /// What was counted.
    pub(crate) fn figures(&self) -> HostFigures {
        let buckets = std::array::from_fn(|place| self.buckets[place].load(Ordering::Relaxed));
        let micros = self.micros.load(Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "a sum of seconds is rounded anyway")]
        let seconds = micros as f64 / 1e6;
        HostFigures { codes: self.lock().clone(), buckets, seconds }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u16, u64>> {
        self.codes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What concerns the router as a whole.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    /// Connections of clients that are open.
    pub(crate) connections: AtomicU64,
    /// Requests under way, upgraded connections among them.
    pub(crate) under_way: AtomicU64,
    /// Connections of clients that were closed at once because there were too many.
    pub(crate) turned_away: AtomicU64,
    /// Requests that were sent to another instance, or over another connection, after a failure.
    pub(crate) retries: AtomicU64,
    /// Lists of pods that were fetched.
    pub(crate) polls: AtomicU64,
    /// Lists of pods that could not be fetched.
    pub(crate) failed_polls: AtomicU64,
    /// 1 while kubelet answers.
    pub(crate) is_kubelet_up: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_into_buckets() {
        let stats = HostStats::default();
        stats.count(200, Duration::from_millis(1));
        stats.count(200, Duration::from_millis(3));
        stats.count(502, Duration::from_secs(100));
        let figures = stats.figures();
        assert_eq!(figures.buckets, [1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(figures.codes, BTreeMap::from([(200, 2), (502, 1)]));
        assert!((figures.seconds - 100.004).abs() < 1e-9);
    }
}
