//! From an image description to artifacts: `images/*.toml -> ImageSpec -> Plan -> LockedPlan -> Outputs ->
//! RootTree -> artifacts`. [`build::build`] calls each stage once, from top to bottom.
#![forbid(unsafe_code)]

pub mod apt;
pub mod arch;
pub mod artifact;
pub mod assemble;
pub mod build;
pub mod clock;
pub mod cmdline;
pub mod compile;
pub mod cpu;
pub mod date;
pub mod deb;
pub mod digest;
pub mod fetch;
pub mod hardening;
pub mod host;
pub mod kernel_config;
pub mod lock;
pub mod lock_update;
pub mod machine_config;
pub mod manifest;
pub mod mirror;
pub mod name;
pub mod pack;
pub mod plan;
pub mod preload;
pub mod process;
pub mod programs;
pub mod progress;
pub mod provenance;
pub mod pypi;
pub mod sandbox;
pub mod sbom;
pub mod scratch;
pub mod sign;
pub mod source_debian;
pub mod spec;
mod stamp;
pub mod store;
pub mod substitute;
pub mod suggest;
pub mod times;
pub mod tools;
pub mod tree;
