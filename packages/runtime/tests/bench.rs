//! Figures of the runtime's own programs (`LEPTON_TEST_PROGRAMS`) beside crun, runc and zstd of a tool tree
//! (`LEPTON_BENCH_TREE`) on the same host, as lines `NAME<tab>VALUE<tab>UNIT`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it starts programs, is told where things are, and reports by itself"
)]

#[path = "native/cgroup.rs"]
mod cgroup;
#[path = "bench/containers.rs"]
mod containers;
#[path = "../images/tests/images/content.rs"]
#[expect(dead_code, reason = "tests of images use the rest")]
mod content;
#[path = "native/host.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod host;
#[path = "native/image.rs"]
mod image;
#[path = "bench/memory.rs"]
mod memory;
#[path = "bench/others.rs"]
mod others;
#[path = "bench/pull.rs"]
mod pull;
#[path = "../images/tests/images/stub.rs"]
#[expect(dead_code, reason = "tests of images use the rest")]
mod stub;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use host::Host;
use others::Others;

fn main() -> ExitCode {
    let mut host = match Host::new() {
        Ok(host) => host,
        Err(missing) => {
            eprintln!("cannot measure: {missing}");
            return ExitCode::FAILURE;
        }
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some(tree) = std::env::var_os("LEPTON_BENCH_TREE").map(PathBuf::from) else {
        eprintln!("cannot measure: LEPTON_BENCH_TREE does not name a tree with crun, runc and zstd");
        return ExitCode::FAILURE;
    };
    let others = Others::new(&tree, &host);
    memory::idle(&tokio, &host);
    containers::compare(&tokio, &host, &others);
    pull::compare(&tokio, &mut host, &others);
    drop(others);
    host.end();
    ExitCode::SUCCESS
}

fn report(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("{name}\t{value}\t{unit}");
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() / 2].as_micros()
}
