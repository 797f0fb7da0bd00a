//! The runtime on this machine's kernel, through its socket: pods, containers, programs in them, and its own restart.
//!
//! Everything is in a mount, a network and a cgroup namespace of this test. It needs root, a statically linked busybox
//! (`LEPTON_TEST_BUSYBOX` names it, else `/bin/busybox`), and the other programs of the runtime beside this one; it says
//! what is missing. `LEPTON_TEST_CNI` names a folder of CNI plugins.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this test starts programs, is told where things are, and reports by itself"
)]

#[path = "native/cgroup.rs"]
mod cgroup;
#[path = "native/containers.rs"]
mod containers;
#[path = "../images/tests/images/content.rs"]
#[expect(dead_code, reason = "tests of images use the rest")]
mod content;
#[path = "native/ctr.rs"]
mod ctr;
#[path = "native/host.rs"]
mod host;
#[path = "native/image.rs"]
mod image;
#[path = "native/interactive.rs"]
mod interactive;
#[path = "native/load.rs"]
mod load;
#[path = "native/metrics.rs"]
mod metrics;
#[path = "native/pods.rs"]
mod pods;
#[path = "native/proxies.rs"]
mod proxies;
#[path = "../images/tests/images/proxy.rs"]
mod proxy;
#[path = "native/restart.rs"]
mod restart;
#[path = "../images/tests/images/stub.rs"]
#[expect(dead_code, reason = "tests of images use the rest")]
mod stub;
#[path = "native/volumes.rs"]
mod volumes;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use host::Host;

/// A name and what it does.
type Scenario = (&'static str, fn(&tokio::runtime::Runtime, &mut Host));

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut host = match Host::new() {
        Ok(host) => host,
        Err(missing) => {
            println!("skipped: {missing}");
            // Whoever says where the programs are wants them tried.
            let is_wanted = std::env::var_os("LEPTON_TEST_PROGRAMS").is_some();
            return if is_wanted { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let scenarios: Vec<Scenario> = [
        pods::ALL,
        containers::ALL,
        volumes::ALL,
        metrics::ALL,
        restart::ALL,
        proxies::ALL,
        load::ALL,
        ctr::ALL,
        interactive::ALL,
    ]
    .concat();
    let mut failed = 0;
    for (name, scenario) in scenarios {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| scenario(&tokio, &mut host)));
        println!("{name}: {}", if result.is_ok() { "ok" } else { "FAILED" });
        if result.is_err() {
            failed += 1;
            println!("{}", host.log());
        }
    }
    host.end();
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
