//! The program with destinations that are not ours: rsyslogd, and the OpenTelemetry collector's own receiver. What they were sent
//! is compared field by field with what was written.
//!
//! `cargo xtask test` runs these. `LEPTON_TEST_MONITORING` names the tool tree that has rsyslogd, and `LEPTON_TEST_OTLP` the program
//! made of `images/boot-tests/go/otlp`; what is missing is told, and left out.
#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

#[path = "../shipper/host.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod host;
mod otlp;
mod rsyslog;
mod running;
mod said;
mod tools;
#[path = "../shipper/trust.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod trust;
#[path = "../shipper/workload.rs"]
mod workload;
