//! Remembers in the store how long builds took, for `bench`. It measures nothing itself, and a build never reads it.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cpu::program_cpu;
use crate::progress::{Progress, StepTime, millis};
use crate::store::Store;

/// How long a build took.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildTimes {
    /// Milliseconds of the whole build.
    pub wall_ms: u64,
    /// Milliseconds of CPU time of the program and all its tools.
    pub cpu_ms: u64,
    /// Its steps, in the order they ended. Steps may overlap.
    pub steps: Vec<StepTime>,
}

/// Remembers a build that compiled its kernel: such a one is taken for cold. What cannot be written is only forgotten.
pub(crate) fn record(store: &Store, stem: &str, started: Instant, progress: &Progress) {
    let steps = progress.times();
    if !steps.iter().any(|step| step.name.starts_with("kernel for ")) {
        return;
    }
    let times = BuildTimes { wall_ms: millis(started.elapsed()), cpu_ms: millis(program_cpu()), steps };
    if let (Ok(dir), Ok(text)) = (store.cache("times"), serde_json::to_vec_pretty(&times)) {
        let _ = fs::write(dir.join(format!("{stem}.json")), text);
    }
}

/// The last cold build of the image with this stem, if the store remembers one.
pub fn last_cold(store: &Store, stem: &str) -> Option<BuildTimes> {
    let dir = store.cache("times").ok()?;
    serde_json::from_slice(&fs::read(dir.join(format!("{stem}.json"))).ok()?).ok()
}
