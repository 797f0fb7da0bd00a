//! What the management API (`LEPTON_BENCH_HOST`) costs: memory while nobody calls, and a call of `Status` over TLS with
//! certificates of both. `cargo xtask bench --host` runs it; it prints lines `NAME<tab>VALUE<tab>UNIT`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it reports by itself, and ends with the first thing that goes wrong"
)]

#[path = "../tests/service/authority.rs"]
#[expect(dead_code, reason = "the judges use the rest")]
mod authority;
#[path = "../tests/service/client.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod client;
#[path = "../tests/service/host.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod host;
#[path = "../tests/service/pid1.rs"]
#[expect(dead_code, reason = "the tests of the service use the rest")]
mod pid1;
#[path = "../tests/service/workload.rs"]
mod workload;

use std::fs;
use std::time::{Duration, Instant};

use lepton_host_api::v1::StatusRequest;

use authority::{Authority, DOMAIN};
use client::Client;
use host::Host;

/// Calls on one connection, and handshakes.
const CALLS: usize = 2000;
const HANDSHAKES: usize = 200;
/// Until the service does nothing more of its own.
const SETTLE: Duration = Duration::from_secs(5);

#[tokio::main]
async fn main() {
    let operators = Authority::new();
    let host = Host::start(&operators).await;
    let reader = || Some(operators.client(&format!("spiffe://{DOMAIN}/role/reader")));
    tokio::time::sleep(SETTLE).await;
    println!("API, RSS before the first call\t{}\tKiB", rss_kib(&host));

    let mut shaken = Vec::new();
    for _ in 0..HANDSHAKES {
        let start = Instant::now();
        let client = Client::connect(host.address, &host.hosts, reader()).await;
        client.host().status(StatusRequest {}).await.unwrap();
        shaken.push(start.elapsed());
    }
    println!("API, connection and a call of Status, median\t{}\tµs", median(shaken));

    let client = Client::connect(host.address, &host.hosts, reader()).await;
    client.host().status(StatusRequest {}).await.unwrap();
    let (mut called, before) = (Vec::new(), cpu(&host));
    for _ in 0..CALLS {
        let start = Instant::now();
        client.host().status(StatusRequest {}).await.unwrap();
        called.push(start.elapsed());
    }
    let used = cpu(&host) - before;
    println!("API, a call of Status on an open connection, median\t{}\tµs", median(called));
    println!("API, time of a processor for that\t{}\tµs", used.as_micros() / CALLS as u128);
    tokio::time::sleep(SETTLE).await;
    println!("API, RSS after {} calls\t{}\tKiB", HANDSHAKES + CALLS, rss_kib(&host));
}

fn median(mut values: Vec<Duration>) -> u128 {
    values.sort_unstable();
    values[values.len() / 2].as_micros()
}

fn rss_kib(host: &Host) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", host.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// `utime` and `stime` of proc_pid_stat(5).
fn cpu(host: &Host) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{}/stat", host.child.id())).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].map(|field| field.parse::<u64>().unwrap()).iter().sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
