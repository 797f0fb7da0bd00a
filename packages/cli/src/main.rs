//! `lepton` of an image without the management API: what needs PID 1 alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    lepton_cli::main(lexopt::Parser::from_env())
}
