//! `lepton-ctr`: images and containers of a host without Kubernetes, for people and for PID 1's `[[containers]]`.
//!
//! The runtime's program behaves as this when it is called by its name ([`NAME`]).
//! It speaks CRI to the runtime and keeps nothing itself: what it needs to know of a container stands in labels and
//! annotations of its pod. It must not change pods that it did not make; kubelet's are only shown.

mod creation;
mod exec;
mod failure;
mod find;
mod image;
mod inspect;
mod interactive;
mod logs;
mod options;
mod remove;
mod run;
mod run_options;
mod service;
mod show;
mod wanted;

use std::io::{self, Write as _};
use std::process::ExitCode;

use lepton_runtime_client::client::Client;
use lepton_runtime_client::{client, follow, log, rotation, session, status, table, watch};

use failure::Failure;
use options::{Command, Options, USAGE};
use run_options::Mode;

/// What the program is called.
pub const NAME: &str = "lepton-ctr";
/// The command line is wrong.
const WRONG_USAGE: u8 = 2;

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("lepton-ctr: {error}\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    // A program that could not be run is told apart from one that failed.
    let own_code = match options.command {
        Command::Run(_) | Command::Exec { .. } => failure::NOT_RUN,
        _ => failure::FAILED,
    };
    let tokio = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(tokio) => tokio,
        Err(error) => return fail(&Failure::io("start", error), own_code),
    };
    let done = tokio.block_on(run(options));
    // A thread may still wait for what is typed.
    tokio.shutdown_background();
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever read the output has gone: that is no failure of ours.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => fail(&error, own_code),
    }
}

fn fail(error: &Failure, own_code: u8) -> ExitCode {
    eprintln!("lepton-ctr: {}", error.chain());
    ExitCode::from(error.exit_code(own_code))
}

async fn run(options: Options) -> Result<u8, Failure> {
    if let Command::Help = options.command {
        writeln!(io::stdout(), "{USAGE}").map_err(Failure::output)?;
        return Ok(0);
    }
    let client = Client::new(&options.socket)?;
    let logs = options.logs.as_path();
    let json = options.json;
    match options.command {
        Command::Help => {}
        Command::Images => image::list(&client, json).await?,
        Command::Pull { name, credentials } => {
            image::pull(&client, &name, credentials.as_deref(), json).await?;
        }
        Command::RemoveImages(names) => image::remove(&client, &names).await?,
        Command::List { all } => show::list(&client, all, json).await?,
        Command::Run(wanted) => {
            return match wanted.mode {
                Mode::Service => service::run(&client, &wanted, logs).await,
                Mode::Detached => run::detached(&client, &wanted, logs, json).await,
                Mode::Attached { remove } if wanted.choice == session::Choice::default() => {
                    run::attached(&client, &wanted, logs, remove).await
                }
                Mode::Attached { remove } => interactive::run(&client, &wanted, logs, remove).await,
            };
        }
        Command::Logs { name, follow, lines, times } => {
            logs::show(&client, &name, logs::Choice { follow, lines, times }).await?;
        }
        Command::Exec { name, command, stdin, tty } => {
            return exec::run(&client, &name, command, session::Choice { stdin, tty }).await;
        }
        Command::Inspect(names) => inspect::show(&client, &names).await?,
        Command::Stop { names, seconds } => remove::stop(&client, &names, seconds).await?,
        Command::Remove { names, force } => remove::remove(&client, &names, force, logs).await?,
    }
    Ok(0)
}
