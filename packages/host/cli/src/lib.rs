//! The command line `lepton`: hosts over the network with the management API, and the host that it runs on.
//!
//! From a workstation it talks TLS 1.3 with the certificate of a role, to one host or several at once. On a host it asks PID 1
//! for what the small `lepton` does (packages/cli), and the API's local socket for the rest.
#![forbid(unsafe_code)]

mod clock;
mod completions;
mod contexts;
mod exit;
mod failure;
mod fleet;
mod help;
mod link;
mod output;
mod place;
mod run;
mod show;
mod span;
mod target;
mod tls;
mod verbs;
mod words;

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use contexts::Contexts;
use failure::Failure;
use run::Call;
use words::Line;

/// Does what the command line says; gives the exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match go(&arguments) {
        Ok(code) => code,
        // Whoever read the output has gone: that is no failure of ours.
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lepton: {}", failure.chain());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn go(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let place = place::contexts();
    let line = words::parse(arguments);
    if is_own(arguments, &line, place.as_deref())? {
        return Ok(lepton_cli::main(lexopt::Parser::from_args(arguments)));
    }
    let mut sink = io::stdout().lock();
    match line {
        Err(error) => Err(Failure::Usage(format!(
            "{error}\nlepton --help lists verbs, lepton VERB --help says how one is used"
        ))),
        Ok(Line::Help(verb)) => run::done(help::print(verb, &mut sink)),
        Ok(Line::Do(asked)) => {
            let call = Call { asked: &asked, place: place.as_deref() };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let code = runtime.block_on(run::run(&call, &mut sink));
            // A thread may still wait for what is typed.
            runtime.shutdown_background();
            Ok(ExitCode::from(code?))
        }
    }
}

/// Whether it is for this host alone, and one of the verbs that PID 1 and programs of the host answer.
fn is_own(
    arguments: &[OsString],
    line: &Result<Line, lexopt::Error>,
    place: Option<&Path>,
) -> Result<bool, Failure> {
    if matches!(line, Ok(Line::Help(_))) || !lepton_cli::takes(lexopt::Parser::from_args(arguments)) {
        return Ok(false);
    }
    let Ok(global) = words::global(arguments) else { return Ok(false) };
    let contexts = place.map(Contexts::read).transpose()?.unwrap_or_default();
    Ok(target::is_here(&global, &contexts) && Path::new(lepton_control::SOCKET).exists())
}
