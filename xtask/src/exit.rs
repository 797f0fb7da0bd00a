//! Exit codes by class of error, and how errors are printed.

use std::error::Error;
use std::fmt;
use std::io::{self, ErrorKind};
use std::process::ExitCode;

use lepton_builder::arch::UnknownArch;
use lepton_builder::artifact::UnknownFormat;
use lepton_builder::build::BuildError;
use lepton_builder::compile::CompileError;
use lepton_builder::fetch::FetchError;
use lepton_builder::hardening::HardeningError;
use lepton_builder::lock::LockError;
use lepton_builder::lock_update::UpdateError;
use lepton_builder::mirror::NoMirror;
use lepton_builder::name::BadName;
use lepton_builder::pack::PackError;
use lepton_builder::provenance::ProvenanceError;
use lepton_builder::pypi::PypiError;
use lepton_builder::sbom::SbomError;
use lepton_builder::sign::SignError;
use lepton_builder::source_debian::DebianError;
use lepton_builder::spec::SpecError;
use lepton_builder::substitute::BadSubstitute;
use lepton_builder::tools::ToolsError;

/// Anything without a class of its own: a full disk, a folder that cannot be written.
const OTHER: u8 = 1;
/// A description, an argument or the lock is wrong.
const SPEC: u8 = 2;
/// An input is missing, cannot be downloaded or has another digest.
const INPUT: u8 = 3;
/// A compiler or tool failed.
const TOOL: u8 = 4;
/// Two builds of the same inputs gave different bytes.
const DIFFERENT: u8 = 5;
/// Ctrl-C: 128 + SIGINT, as shells count.
pub(crate) const INTERRUPTED: i32 = 130;

/// An argument that only a command can judge.
#[derive(Debug)]
pub(crate) struct BadArgument(pub String);

impl Error for BadArgument {}

impl fmt::Display for BadArgument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Two builds gave different bytes; each difference has been printed.
#[derive(Debug)]
pub(crate) struct Different {
    /// How many files differ.
    pub count: usize,
}

impl Error for Different {}

impl fmt::Display for Different {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not reproducible: {} files differ", self.count)
    }
}

/// Prints the error with its causes and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::from(class(error))
}

fn class(error: &anyhow::Error) -> u8 {
    // A disk without room spoils whatever is done at that moment; it says nothing about the input or the tool.
    if error.chain().any(is_lack_of_room) {
        return OTHER;
    }
    error.chain().find_map(class_of).unwrap_or(OTHER)
}

fn is_lack_of_room(error: &(dyn Error + 'static)) -> bool {
    let kind = error.downcast_ref().map(io::Error::kind);
    matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem))
}

fn class_of(error: &(dyn Error + 'static)) -> Option<u8> {
    if let Some(error) = error.downcast_ref() {
        return class_of_build(error);
    }
    if let Some(error) = error.downcast_ref() {
        return class_of_compile(error);
    }
    if let Some(error) = error.downcast_ref() {
        return class_of_tools(error);
    }
    if let Some(error) = error.downcast_ref() {
        return class_of_update(error);
    }
    if let Some(error) = error.downcast_ref() {
        return class_of_pypi(error);
    }
    if error.is::<Different>() {
        return Some(DIFFERENT);
    }
    let is_argument = error.is::<BadArgument>()
        || error.is::<BadName>()
        || error.is::<UnknownFormat>()
        || error.is::<UnknownArch>()
        || error.is::<BadSubstitute>();
    let is_key = matches!(
        error.downcast_ref(),
        Some(SignError::Read { .. } | SignError::Exposed { .. } | SignError::Key { .. })
    );
    let is_spec = is_argument || is_key || error.is::<SpecError>() || error.is::<LockError>();
    let is_input = error.is::<FetchError>() || error.is::<NoMirror>();
    is_spec.then_some(SPEC).or(is_input.then_some(INPUT))
}

fn class_of_build(error: &BuildError) -> Option<u8> {
    match error {
        BuildError::Spec(_) | BuildError::Lock(_) | BuildError::Assemble(_) => Some(SPEC),
        BuildError::Tools(error) | BuildError::Debian(DebianError::Tools(error)) => class_of_tools(error),
        BuildError::Debian(DebianError::Read { .. }) => None,
        BuildError::Debian(_) => Some(SPEC),
        BuildError::Compile(error) => class_of_compile(error),
        BuildError::Pack(PackError::Process(_)) => Some(TOOL),
        BuildError::Pack(PackError::Tools(error)) => class_of_tools(error),
        BuildError::Hardening(HardeningError::Differs { .. } | HardeningError::Spec(_)) => Some(SPEC),
        BuildError::Hardening(HardeningError::Tools(error)) => class_of_tools(error),
        BuildError::Hardening(HardeningError::Process(_) | HardeningError::Report(_)) => Some(TOOL),
        BuildError::Sbom(SbomError::Crates(error))
        | BuildError::Provenance(ProvenanceError::Crates(error)) => class_of_compile(error),
        BuildError::Sbom(SbomError::Lock(_) | SbomError::Clash(_))
        | BuildError::Provenance(ProvenanceError::Lock(_)) => Some(SPEC),
        _ => None,
    }
}

fn class_of_compile(error: &CompileError) -> Option<u8> {
    match error {
        CompileError::Process(_) => Some(TOOL),
        CompileError::Vendor { .. } | CompileError::Modules { .. } => Some(INPUT),
        CompileError::Tools(error) => class_of_tools(error),
        CompileError::Lock(_)
        | CompileError::Spec(_)
        | CompileError::Config(_)
        | CompileError::Manifest { .. } => Some(SPEC),
        _ => None,
    }
}

fn class_of_pypi(error: &PypiError) -> Option<u8> {
    match error {
        PypiError::NoPython { .. } | PypiError::Offline { .. } | PypiError::Download { .. } => Some(INPUT),
        PypiError::Unpack { .. } => Some(TOOL),
        PypiError::Tools(error) => class_of_tools(error),
        _ => None,
    }
}

fn class_of_update(error: &UpdateError) -> Option<u8> {
    match error {
        UpdateError::Indexes(_) | UpdateError::Apt(_) | UpdateError::NotIndexed(_) | UpdateError::NoDate => {
            Some(INPUT)
        }
        _ => Some(SPEC),
    }
}

fn class_of_tools(error: &ToolsError) -> Option<u8> {
    match error {
        ToolsError::Fetch(FetchError::Store(_)) => None,
        ToolsError::Fetch(_) | ToolsError::Deb(_) => Some(INPUT),
        ToolsError::Lock(_) | ToolsError::Update(_) => Some(SPEC),
        _ => None,
    }
}
