//! Runs the cases one after another: a line on the console for each, what the runtime printed if one failed, then a sum.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::{cases, host, network, say};

/// What is looked at: facts for the line, or what did not hold.
type Case = fn(&Runtime) -> Result<String, String>;

const CASES: [(&str, Case); 11] = [
    ("version", cases::version),
    ("image", cases::preloaded),
    ("host-network", cases::host_network),
    ("exec", cases::exec),
    ("stats", cases::stats),
    ("metrics", cases::metrics),
    ("pod-network", network::pod),
    ("host-port", network::host_port),
    ("restarted", cases::restarted),
    ("killed", cases::killed),
    ("nothing-left", cases::nothing_left),
];

/// Runs all cases.
pub(crate) fn judge() -> io::Result<ExitCode> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = 0;
    for (name, case) in CASES {
        let start = Instant::now();
        let result = case(&tokio);
        let ms = start.elapsed().as_millis();
        match result {
            Ok(facts) => say(&format!("{name} ok ms={ms} {facts}"))?,
            Err(error) => {
                failed += 1;
                say(&format!("{name} FAILED: {error}"))?;
            }
        }
    }
    if failed > 0 {
        for line in host::log().unwrap_or_else(|error| vec![error]) {
            say(&format!("the runtime printed: {line}"))?;
        }
    }
    say(&format!("end cases={} failed={failed}", CASES.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// What must hold, or else what is said.
pub(crate) fn holds(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
