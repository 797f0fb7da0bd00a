//! The program as PID 1 starts it, with logs on a disk and destinations that take them, are away, are slow, break off or say no.
#![expect(clippy::unwrap_used, reason = "a test ends with the first thing that goes wrong")]

mod away;
mod crash;
mod host;
mod identity;
mod otlp;
mod receiver;
mod rfc5424;
mod rotation;
mod streams;
#[expect(dead_code, reason = "judges use the rest")]
mod trust;
mod without_state;
mod workload;
