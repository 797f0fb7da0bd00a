//! `config`: checks a machine config on the workstation and prints its schema and reference.

use std::path::Path;
use std::process::ExitCode;

use lepton_builder::build::BuildError;
use lepton_builder::machine_config::MachineConfig;
use lepton_config::schema;

use crate::cli::ConfigCommand;
use crate::context::CommandResult;

/// `cargo xtask config`.
pub(crate) fn config(command: &ConfigCommand) -> CommandResult {
    match command {
        ConfigCommand::Check { file } => check(file),
        ConfigCommand::Schema => print(&schema::json()),
        ConfigCommand::Docs => print(&schema::reference()),
    }
}

/// Strict, where a host would step over mistakes: here somebody can correct them.
fn check(file: &Path) -> CommandResult {
    MachineConfig::load(file).map_err(BuildError::Spec)?;
    eprintln!("{} is a good machine config", file.display());
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the output of the command")]
fn print(text: &str) -> CommandResult {
    print!("{text}");
    Ok(ExitCode::SUCCESS)
}
