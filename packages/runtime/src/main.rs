//! The container runtime as a program, which called as `lepton-ctr` is its client.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    match Path::new(&called).file_name() == Some(lepton_ctr::NAME.as_ref()) {
        true => lepton_ctr::main(),
        false => lepton_runtime::main(),
    }
}
