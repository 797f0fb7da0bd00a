//! Runs the cases one after another: a line on the console for each, what programs printed if one failed, then a sum.

use std::io;
use std::process::ExitCode;
use std::time::Instant;

use tokio::runtime::Runtime;

use crate::say;

/// What is looked at: facts for the line, or what did not hold.
pub(crate) type Case = fn(&Runtime) -> Result<String, String>;

/// Runs all cases; `logs` is what the programs concerned printed.
pub(crate) fn judge(cases: &[(&str, Case)], logs: fn() -> Vec<String>) -> io::Result<ExitCode> {
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut failed = 0;
    for (name, case) in cases {
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
        for line in logs() {
            say(&line)?;
        }
    }
    say(&format!("end cases={} failed={failed}", cases.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// What must hold, or else what is said.
pub(crate) fn holds(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
