//! Figures of the runtime's own programs (`LEPTON_TEST_PROGRAMS`) beside other ones on the same host, as lines
//! `NAME<tab>VALUE<tab>UNIT`. `LEPTON_BENCH_CRUN`, `LEPTON_BENCH_RUNC` and `LEPTON_BENCH_ZSTD` are command lines of the
//! others; one that is not given is left out, and that is said.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it starts programs, is told where things are, and reports by itself"
)]

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
#[path = "bench/pull.rs"]
mod pull;
#[path = "../images/tests/images/stub.rs"]
#[expect(dead_code, reason = "tests of images use the rest")]
mod stub;

use std::process::{Command, ExitCode};
use std::time::Duration;

use host::Host;

fn main() -> ExitCode {
    let mut host = match Host::new() {
        Ok(host) => host,
        Err(missing) => {
            eprintln!("cannot measure: {missing}");
            return ExitCode::FAILURE;
        }
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    memory::idle(&tokio, &host);
    containers::compare(&tokio, &host);
    pull::compare(&tokio, &mut host);
    host.end();
    ExitCode::SUCCESS
}

/// A program of somebody else.
fn other(name: &str) -> Option<Vec<String>> {
    let variable = format!("LEPTON_BENCH_{}", name.to_uppercase());
    let words = std::env::var(&variable).ok().map(|line| line.split(' ').map(str::to_owned).collect());
    if words.is_none() {
        eprintln!("left out: {name} ({variable} is not set)");
    }
    words
}

/// A command of it.
fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn report(name: &str, value: impl std::fmt::Display, unit: &str) {
    println!("{name}\t{value}\t{unit}");
}

fn median(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() / 2].as_micros()
}
