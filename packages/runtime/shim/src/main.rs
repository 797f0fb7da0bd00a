//! `runtime-shim serve FOLDER`: keeps the pod of that folder. `namespaces FOLDER` and `init` are its own children.

use std::path::Path;
use std::process::ExitCode;

use lepton_runtime_shim::{namespaces, serve};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", folder] => match serve::run(Path::new(folder)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
                let causes: String = causes.map(|cause| format!(": {cause}")).collect();
                eprintln!("{error}{causes}");
                ExitCode::FAILURE
            }
        },
        ["namespaces", folder] => {
            namespaces::child(Path::new(folder));
            ExitCode::SUCCESS
        }
        ["init"] => match serve::init::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        },
        _ => {
            eprintln!("usage: runtime-shim serve FOLDER");
            ExitCode::from(2)
        }
    }
}
