//! `lepton`: hosts over the network, and the host that it runs on.

use std::process::ExitCode;

fn main() -> ExitCode {
    lepton_remote::main()
}
