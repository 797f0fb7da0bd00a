//! Manifests of pods, and other texts that Kubernetes takes as YAML or JSON.
//!
//! What a text means is what Kubernetes' own reader makes of it (`scalar.rs`), so that nobody's manifest changes its
//! meaning here. Nothing here reads files.
#![forbid(unsafe_code)]

pub mod duration;
mod pod;
mod scalar;
mod settings;
mod yaml;

pub use pod::{BadPod, Pod, Route};
pub use settings::{BadSettings, Settings};
pub use yaml::{BadYaml, parse};
