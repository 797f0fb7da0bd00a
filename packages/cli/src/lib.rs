//! The command line of a host: asks PID 1, and shows the answer as a table or as JSON; starts the installer and the
//! command lines of containers, of pods and of the host's identity. It must not need the network or another service.
//!
//! Exit codes: 0 done; 1 PID 1 refused or cannot be reached; 2 the command line is wrong; 3 there is no such service.

mod options;
mod previous;
mod show;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, ExitCode};

use lepton_control::{Answer, Client, ClientError, ErrorKind, LogName};

use options::{Command, Options};

/// The program of the package `install`.
const INSTALLER: &str = "/usr/bin/lepton-install";
/// The program of the package `runtime`.
const CONTAINERS: &str = "/usr/bin/lepton-ctr";
/// The program of the package `identity` for people.
const IDENTITY: &str = "/usr/bin/lepton-id";
/// The program of the package `kubelet`.
const PODS: &str = "/usr/bin/lepton-pods";
/// PID 1 refused, or cannot be reached.
const FAILED: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// There is no such service.
const NO_SERVICE: u8 = 3;

/// Whether a command line is one that [`main`] does. Help is whose program it is.
pub fn takes(arguments: lexopt::Parser) -> bool {
    Options::parse(arguments).is_ok_and(|options| options.command != Command::Help)
}

/// Does what a command line says; gives the exit code.
pub fn main(arguments: lexopt::Parser) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("lepton: {error}\n{}", options::USAGE);
            return ExitCode::from(USAGE);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has gone: that is no failure of ours.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(error)) => fail(FAILED, &error.to_string()),
        Err(Failure::Start { package, error, .. }) if error.kind() == io::ErrorKind::NotFound => {
            fail(FAILED, &format!("this image has no package {package:?}"))
        }
        Err(Failure::Start { program, error, .. }) => {
            fail(FAILED, &format!("cannot start {program}: {error}"))
        }
        Err(Failure::Client(error)) => {
            let code = if is_no_service(&error) { NO_SERVICE } else { FAILED };
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            fail(code, &format!("{error}{}", cause.unwrap_or_default()))
        }
    }
}

fn fail(code: u8, text: &str) -> ExitCode {
    eprintln!("lepton: {text}");
    ExitCode::from(code)
}

enum Failure {
    Client(ClientError),
    /// Another program, in the place of this one.
    Start {
        program: &'static str,
        package: &'static str,
        error: io::Error,
    },
    Output(io::Error),
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    let mut output = io::stdout().lock();
    let request = match &options.command {
        Command::Help => return Ok(writeln!(output, "{}", options::USAGE)?),
        Command::Logs { name, follow, lines } => {
            let shown = logs(name.clone(), *follow, *lines, options, &mut output);
            return match (shown, name) {
                (Err(Failure::Client(error)), LogName::Service(name)) if is_no_service(&error) => {
                    Err(logs_of_pod(name, *follow, *lines, options, error))
                }
                (shown, _) => shown,
            };
        }
        Command::Install(arguments) => return Err(become_other(INSTALLER, "install", arguments)),
        Command::Containers(arguments) => return Err(become_other(CONTAINERS, "runtime", arguments)),
        Command::Identity(arguments) => return Err(become_other(IDENTITY, "identity", arguments)),
        Command::Pods(arguments) => return Err(become_other(PODS, "kubelet", arguments)),
        Command::Previous { name, lines } => return Ok(previous::show(name, *lines, &mut output)?),
        Command::Ask(request) => request,
    };
    let answer = Client::connect()?.ask(request)?;
    if options.json {
        return Ok(output.write_all(answer.to_line().as_bytes())?);
    }
    match answer {
        Answer::Status(status) => show::status(&status, &mut output)?,
        Answer::Services(services) => show::services(&services, &mut output)?,
        Answer::Service(service) => show::service(&service, &mut output)?,
        _ => {}
    }
    Ok(())
}

fn is_no_service(error: &ClientError) -> bool {
    matches!(error, ClientError::Refused { kind: ErrorKind::NoService, .. })
}

/// Shows the log of a pod, since no service has the name; comes back only when this image has no pods.
fn logs_of_pod(
    name: &str,
    follow: bool,
    lines: Option<u32>,
    options: &Options,
    error: ClientError,
) -> Failure {
    // The lines of a pod are plain text.
    if options.json || !Path::new(PODS).exists() {
        return error.into();
    }
    let mut arguments = vec!["logs".to_owned(), "--no-service".to_owned()];
    arguments.extend(follow.then(|| "-f".to_owned()));
    arguments.extend(lines.map(|lines| format!("--tail={lines}")));
    arguments.extend(["--".to_owned(), name.to_owned()]);
    become_other(PODS, "kubelet", &arguments)
}

/// Becomes the program of a package, whose exit code and lines are then this program's; comes back only when that fails.
#[expect(
    clippy::disallowed_methods,
    reason = "the installer and the command lines of containers, pods and identity are programs of their own, and take the place of this one"
)]
fn become_other(program: &'static str, package: &'static str, arguments: &[String]) -> Failure {
    Failure::Start { program, package, error: process::Command::new(program).args(arguments).exec() }
}

/// A log, line by line.
fn logs(
    name: LogName,
    follow: bool,
    lines: Option<u32>,
    options: &Options,
    output: &mut impl Write,
) -> Result<(), Failure> {
    let client = Client::connect()?;
    let mut result = Ok(());
    client.logs(name, follow, lines, |line| {
        result = match options.json {
            true => output.write_all(Answer::Line(line).to_line().as_bytes()),
            false => writeln!(output, "{:>6}.{:03} {}", line.ms / 1000, line.ms % 1000, line.text),
        };
        result.is_ok()
    })?;
    Ok(result?)
}
