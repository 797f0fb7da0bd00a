//! Exit codes by class of error, and how errors are printed.

use std::process::ExitCode;

use lepton_builder::artifact::UnknownFormat;
use lepton_builder::build::BuildError;
use lepton_builder::compile::CompileError;
use lepton_builder::fetch::FetchError;
use lepton_builder::lock::LockError;
use lepton_builder::lock_update::UpdateError;
use lepton_builder::mirror::NoMirror;
use lepton_builder::name::BadName;
use lepton_builder::pack::PackError;
use lepton_builder::spec::SpecError;
use lepton_builder::tools::ToolsError;

/// Anything without a class of its own: a full disk, a folder that cannot be written.
const OTHER: u8 = 1;
/// A description, an argument or the lock is wrong.
const SPEC: u8 = 2;
/// An input is missing, cannot be downloaded or has another digest.
const INPUT: u8 = 3;
/// A compiler or tool failed.
const TOOL: u8 = 4;
/// Ctrl-C: 128 + SIGINT, as shells count.
pub(crate) const INTERRUPTED: i32 = 130;

/// Prints the error with its causes and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(class(error))
}

fn class(error: &anyhow::Error) -> u8 {
    error.chain().find_map(|cause| class_of(cause)).unwrap_or(OTHER)
}

fn class_of(error: &(dyn std::error::Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref::<BuildError>() {
        return match error {
            BuildError::Spec(_) | BuildError::Lock(_) | BuildError::Assemble(_) => Some(SPEC),
            BuildError::Tools(error) => class_of_tools(error),
            BuildError::Compile(error) => match error {
                CompileError::Process(_) => Some(TOOL),
                CompileError::Tools(error) => class_of_tools(error),
                CompileError::Lock(_) | CompileError::Spec(_) | CompileError::Config(_) => Some(SPEC),
                CompileError::Manifest { .. } => Some(SPEC),
                _ => None,
            },
            BuildError::Pack(PackError::Process(_)) => Some(TOOL),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<ToolsError>() {
        return class_of_tools(error);
    }
    if let Some(error) = error.downcast_ref::<UpdateError>() {
        return Some(if matches!(error, UpdateError::Apt(_) | UpdateError::NotIndexed(_)) { INPUT } else { SPEC });
    }
    let spec = error.is::<SpecError>() || error.is::<BadName>() || error.is::<UnknownFormat>() || error.is::<LockError>();
    let input = error.is::<FetchError>() || error.is::<NoMirror>();
    spec.then_some(SPEC).or(input.then_some(INPUT))
}

fn class_of_tools(error: &ToolsError) -> Option<u8> {
    match error {
        ToolsError::Fetch(FetchError::Store(_)) => None,
        ToolsError::Fetch(_) | ToolsError::Deb(_) => Some(INPUT),
        ToolsError::Lock(_) | ToolsError::Update(_) => Some(SPEC),
        _ => None,
    }
}
