//! `cargo xtask`: the command line of Lepton. Commands and exit codes only; the work is in the builder.

mod ahead;
mod bench;
mod check;
mod cli;
mod cluster;
mod config;
mod conformance;
mod containers;
mod context;
mod docs;
mod exit;
mod hardening_doc;
mod image;
mod interrupt;
mod lock;
mod peers;
mod repro;
mod run;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use lepton_builder::{clock, sandbox};

use cli::{Cli, Command};

fn main() -> ExitCode {
    // The sandbox starts this program again; nothing may happen before it.
    let args: Vec<String> = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if args.get(1).is_some_and(|first| first == sandbox::ENTER) {
        return sandbox::enter(&args[2..]);
    }
    let cli = Cli::parse();
    interrupt::install();
    if let Some(clock) = &cli.clock {
        clock::set(clock.clone());
    }
    let result = match &cli.command {
        Command::Image(options) => image::image(options, &cli),
        Command::Plan(options) => image::plan(options, &cli),
        Command::Run(options) => run::run(options, &cli),
        Command::Test(options) => test::test(options, &cli),
        Command::Cluster(command) => cluster::cluster(command, &cli),
        Command::Docs => docs::docs(&cli),
        Command::Check => check::check(&cli),
        Command::Repro(target) => repro::repro(target, &cli),
        Command::Bench(options) => bench::bench(options, &cli),
        Command::Config(command) => config::config(command),
        Command::Lock(options) => lock::lock(options, &cli),
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Cli::command(), "cargo-xtask", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    interrupt::wait_if_seen();
    result.unwrap_or_else(|error| exit::report(&error))
}
