//! Our agent (`LEPTON_BENCH_AGENT`) beside SPIRE's (`LEPTON_TEST_SPIRE` is the folder of its programs) on one host, each with
//! a thousand workloads and the same clients: what `cargo xtask bench --identity` measures.
//!
//! It needs root, because workloads are processes of a thousand users, and prints lines
//! `NAME<tab>OURS<tab>SPIRE'S<tab>UNIT`. The same program is the workloads: `workload …`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it starts programs, is told where things are, and reports by itself"
)]

mod contender;
mod crowd;
mod fetches;
#[path = "../../tests/spire/process.rs"]
mod process;
mod rotation;
#[path = "../../tests/spire/server.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod server;
mod site;
mod start;
mod workload;

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use contender::Contender;
use crowd::Crowd;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use site::{Site, WORKLOADS};
use workload::Work;

/// How long an SVID is good for where nothing is to be renewed meanwhile.
const LONG_S: u32 = 86_400;
/// Until a process has done what it does after it has got something new.
const SETTLE: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.split_first() {
        Some((word, rest)) if word == workload::WORD => workload::run(rest),
        Some(_) => Err("usage: identity-bench".to_owned()),
        None => measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cannot measure: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), String> {
    // A connection has two descriptors in our agent, and programs inherit the limit.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
        .map_err(|error| format!("cannot raise the limit of open files: {error}"))?;
    let site = Site::new()?;
    let mut both = site.both("day", LONG_S);
    site.join(&mut both);
    thread::sleep(SETTLE);
    report("RSS, joined, no entries", both.each_ref().map(Contender::memory_kib), "KiB");
    for one in &both {
        site.entries(one);
    }
    for one in &both {
        site.until_signed(one, WORKLOADS);
    }
    thread::sleep(SETTLE);
    report("RSS, 1000 entries with SVIDs", both.each_ref().map(Contender::memory_kib), "KiB");
    fetches::rates(&site, &both);
    fetches::latencies(&site, &both);
    let memory = both.each_ref().map(|one| {
        let crowd = Crowd::start(&site.client, one.socket(), &Work::Hold, site::users());
        crowd.first_updates();
        thread::sleep(SETTLE);
        one.memory_kib()
    });
    report("RSS, 1000 workloads with open streams", memory, "KiB");
    start::again(&site, &mut both);
    drop(both);
    start::first(&site);
    rotation::compare(&site);
    Ok(())
}

/// A line with the figures of ours and of SPIRE's agent.
fn report(name: &str, [ours, spires]: [u64; 2], unit: &str) {
    println!("{name}\t{ours}\t{spires}\t{unit}");
}

/// Of times in microseconds the one that so many thousandths are not above.
fn quantile(times: &mut [u64], thousandths: usize) -> u64 {
    times.sort_unstable();
    times[(times.len() * thousandths / 1000).min(times.len() - 1)]
}
