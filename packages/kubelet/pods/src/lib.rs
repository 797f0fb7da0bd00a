//! `lepton-pods`: the pods of a host, for people: what they do, their logs, programs in them, and their ports; and what
//! other programs need to know of them.
//!
//! kubelet says what a pod is and how it is; the container runtime has logs, programs and ports. Nothing here changes a
//! pod.

mod choose;
mod connection;
mod exec;
mod failure;
mod forward;
mod from_kubelet;
mod from_runtime;
mod list;
mod logs;
mod options;
mod pod;
mod read;
mod show;
mod status;
mod time;

use std::process::ExitCode;

use lepton_runtime_client::client::Client;
use lepton_runtime_client::status::NOT_RUN;

pub use choose::{container as choose_container, pod as choose_pod};
pub use failure::Failure;
pub use from_runtime::{CONTAINER, NAMESPACE, POD};
pub use list::{Host, List, all};
pub use logs::attempts;
pub use options::Name;
pub use pod::Pod;
pub use read::{SoFar, so_far};
pub use time::parse as parse_time;

use options::{Command, Options, USAGE};

/// The command line is wrong.
const WRONG_USAGE: u8 = 2;

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    let options = match Options::parse(lexopt::Parser::from_env()) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("lepton-pods: {error}\n{USAGE}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    // A program that could not be run is told apart from one that failed.
    let own_code = match options.command {
        Command::Exec { .. } => NOT_RUN,
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
    eprintln!("lepton-pods: {}", error.chain());
    ExitCode::from(error.exit_code(own_code))
}

async fn run(options: Options) -> Result<u8, Failure> {
    let host = Host {
        client: Client::new(&options.socket)?,
        kubelet: options.kubelet,
        credentials: options.credentials.clone(),
    };
    let namespace = options.namespace.as_deref();
    match options.command {
        Command::Help => show::usage(USAGE)?,
        Command::List => show::list(&all(&host).await?, namespace, options.json)?,
        Command::Logs { name, choice } => logs::show(&host, namespace, &name, &choice).await?,
        Command::Exec { name, command, choice } => {
            return exec::run(&host, namespace, &name, command, choice).await;
        }
        Command::Forward { name, ports, addresses } => {
            forward::run(&host, namespace, &name, &ports, &addresses).await?;
        }
    }
    Ok(0)
}
