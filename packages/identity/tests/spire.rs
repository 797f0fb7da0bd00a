//! The agent against SPIRE's own server, with SPIRE's, go-spiffe's and openssl's programs as workloads and judges.
//!
//! `LEPTON_TEST_SPIRE` names the folder with spire-server, spire-agent and oidc-discovery-provider, and
//! `LEPTON_TEST_SPIFFE_CLIENT` and `LEPTON_TEST_AUTHENTICATION` the programs made of `images/boot-tests/go/spiffe` and
//! `images/boot-tests/go/authentication`; `cargo xtask test` makes them. It needs
//! root and `lepton-id` beside the agent, and says what is missing. Words on the command line choose scenarios by their
//! names. Everything is on loopback and in a folder that goes with the scenario.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "this test starts programs, is told where things are, and reports by itself"
)]

#[path = "spire/agent.rs"]
mod agent;
#[path = "spire/alone.rs"]
mod alone;
#[path = "spire/client.rs"]
mod client;
#[path = "spire/field.rs"]
mod field;
#[path = "spire/http.rs"]
mod http;
#[path = "spire/joining.rs"]
mod joining;
#[path = "spire/jwks.rs"]
mod jwks;
#[path = "spire/kubernetes.rs"]
mod kubernetes;
#[path = "spire/leaving.rs"]
mod leaving;
#[path = "spire/process.rs"]
mod process;
#[path = "spire/programs.rs"]
mod programs;
#[path = "spire/records.rs"]
mod records;
#[path = "spire/rotation.rs"]
mod rotation;
#[path = "spire/scan.rs"]
mod scan;
#[path = "spire/server.rs"]
mod server;
#[path = "spire/servers.rs"]
mod servers;
#[path = "spire/workloads.rs"]
mod workloads;

use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::time::Instant;

use field::Field;
use programs::Programs;

/// A name and what it does.
type Scenario = (&'static str, fn(&Field));

fn main() -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let programs = match Programs::find() {
        Ok(programs) => programs,
        Err(missing) => {
            println!("left out: {missing}");
            return ExitCode::SUCCESS;
        }
    };
    let scenarios: Vec<Scenario> = [
        alone::ALL,
        joining::ALL,
        workloads::ALL,
        kubernetes::ALL,
        rotation::ALL,
        servers::ALL,
        leaving::ALL,
        records::ALL,
    ]
    .concat();
    let mut failed = 0;
    for (name, scenario) in scenarios {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        let start = Instant::now();
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| scenario(&Field::new(&programs))));
        let word = if result.is_ok() { "ok" } else { "FAILED" };
        println!("{name}: {word} ({:.1} s)", start.elapsed().as_secs_f32());
        failed += u32::from(result.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
