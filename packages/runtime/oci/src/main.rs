//! `runtime-oci --root FOLDER create|exec ID …`: makes one container, or one more process in it, and ends.
//!
//! A process of its own because namespaces are entered by single-threaded programs only. What it makes is inherited by
//! its parent, which must be a subreaper. The outcome is JSON in the file of `--result`; standard input, output and
//! error are the container's, so that nothing must be printed.

mod bundle;
mod devices;
mod executor;
mod first;
mod make;
mod seccomp;
mod sys;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

/// What is said at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The process id of what was made.
    Pid(i32),
    /// Why nothing was.
    Error(String),
}

/// What the command line says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    root: PathBuf,
    command: String,
    id: String,
    bundle: PathBuf,
    process: PathBuf,
    console: Option<PathBuf>,
    result: PathBuf,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut arguments = Self::default();
        let mut positional = Vec::new();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--root" => arguments.root = words.next()?.into(),
                "--bundle" => arguments.bundle = words.next()?.into(),
                "--process" => arguments.process = words.next()?.into(),
                "--console-socket" => arguments.console = Some(words.next()?.into()),
                "--result" => arguments.result = words.next()?.into(),
                _ => positional.push(word),
            }
        }
        let [command, id] = <[String; 2]>::try_from(positional).ok()?;
        let complete =
            matches!(command.as_str(), "create" | "exec") && !arguments.result.as_os_str().is_empty();
        complete.then_some(Self { command, id, ..arguments })
    }
}

fn main() -> ExitCode {
    let Some(arguments) = Arguments::parse(std::env::args().skip(1)) else {
        eprintln!(
            "usage: runtime-oci --root FOLDER create ID --bundle FOLDER --result FILE [--console-socket SOCKET]\n       \
             runtime-oci --root FOLDER exec ID --bundle FOLDER --process FILE --result FILE [--console-socket SOCKET]"
        );
        return ExitCode::from(2);
    };
    let trace = trace::Trace::begin(&arguments.result);
    let made = if arguments.command == "create" { make::create(&arguments) } else { make::exec(&arguments) };
    let said = trace.end();
    let outcome = match made {
        Ok(pid) => Outcome::Pid(pid),
        Err(error) => {
            let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
            let causes: String = causes.map(|cause| format!(": {cause}")).collect();
            let said = said.map(|said| format!(": {said}")).unwrap_or_default();
            Outcome::Error(format!("{error}{causes}{said}"))
        }
    };
    let failed = matches!(outcome, Outcome::Error(_));
    let written = serde_json::to_vec(&outcome).map(|json| std::fs::write(&arguments.result, json));
    match written {
        Ok(Ok(())) if !failed => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let parse = |text: &str| Arguments::parse(text.split(' ').map(str::to_owned));
        let arguments = parse("--root /r create a --bundle /b --result /b/x").unwrap();
        assert_eq!(arguments.id, "a");
        assert_eq!(arguments.bundle, PathBuf::from("/b"));
        assert_eq!(arguments.console, None);
        assert_eq!(parse("--root /r create a --bundle /b"), None);
        assert_eq!(parse("--root /r delete a --result /x"), None);
        assert_eq!(parse("create --result"), None);
    }
}
