//! Remembers in the store how long builds took and what `bench` measured. It measures nothing itself, and a build
//! never reads it.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cpu::program_cpu;
use crate::progress::{Progress, StepTime, millis};
use crate::store::{Store, StoreError};

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
    if let (Ok(path), Ok(text)) = (path(store, "cold", stem), serde_json::to_vec_pretty(&times)) {
        let _ = fs::write(path, text);
    }
}

/// The last cold build of the image with this stem, if the store remembers one.
pub fn last_cold(store: &Store, stem: &str) -> Option<BuildTimes> {
    serde_json::from_slice(&fs::read(path(store, "cold", stem).ok()?).ok()?).ok()
}

/// One measured value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value, in units.
    pub value: u64,
    /// What is counted.
    pub unit: Unit,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// 1024 bytes.
    Kibibytes,
    /// Milliseconds.
    Milliseconds,
    /// Microseconds.
    Microseconds,
    /// So many in a second.
    PerSecond,
    /// So many.
    Count,
}

impl Figure {
    /// A value with its name.
    pub fn new(name: impl Into<String>, value: u64, unit: Unit) -> Self {
        Self { name: name.into(), value, unit }
    }
}

/// What the last `bench` of the image with this stem measured; nothing when there was none.
pub fn last_bench(store: &Store, stem: &str) -> Vec<Figure> {
    let text = path(store, "bench", stem).ok().and_then(|path| fs::read(path).ok());
    text.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// Remembers what was measured: `work/cache-times/bench-STEM.json` in the store.
pub fn record_bench(store: &Store, stem: &str, figures: &[Figure]) -> Result<(), StoreError> {
    let text = serde_json::to_vec_pretty(figures).expect("names and numbers serialize");
    let path = path(store, "bench", stem)?;
    fs::write(&path, text).map_err(|source| StoreError::new("write", path, source))
}

fn path(store: &Store, what: &str, stem: &str) -> Result<PathBuf, StoreError> {
    Ok(store.cache("times")?.join(format!("{what}-{stem}.json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_remembered_by_image() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(last_bench(&store, "a"), []);
        let figures = [Figure::new("size", 7, Unit::Bytes)];
        record_bench(&store, "a", &figures).unwrap();
        assert_eq!(last_bench(&store, "a"), figures);
        assert_eq!(last_bench(&store, "b"), []);
    }
}
