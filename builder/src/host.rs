//! What a build takes from the machine it runs on, read once: everything else is given.

use std::fs;
use std::path::{Path, PathBuf};

use crate::arch::{Arch, UnknownArch};
use crate::mirror::{self, Mirror, NoMirror};
use crate::substitute;

/// The variable that moves the store.
pub const STORE_VARIABLE: &str = "LEPTON_STORE";

/// Facts about this machine.
#[derive(Debug)]
pub struct Host {
    /// Its architecture.
    pub arch: Arch,
    /// Where the store lies.
    pub store: PathBuf,
    /// The Debian mirror, if one is known.
    pub mirror: Result<Mirror, NoMirror>,
    /// Another store to take finished outputs from, as it was written.
    pub substitute: Option<String>,
    /// cargo, which fetches crates as this machine configures it.
    pub cargo: PathBuf,
    /// How many processes a build may run at once.
    pub jobs: usize,
    /// The person's home folder, which no artifact may name.
    pub home: Option<PathBuf>,
}

/// This machine cannot build.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Neither a store nor a home folder is set.
    #[error("no place for the store: neither {STORE_VARIABLE}, XDG_CACHE_HOME nor HOME is set")]
    NoStore,
    /// cargo is nowhere to be found.
    #[error("cannot find cargo\nhint: run this program as `cargo xtask`")]
    NoCargo,
    /// The machine is of another architecture.
    #[error(transparent)]
    Arch(#[from] UnknownArch),
}

impl Host {
    /// Reads the environment and the system's files.
    pub fn detect() -> Result<Self, HostError> {
        let store = variable(STORE_VARIABLE)
            .map(PathBuf::from)
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("lepton")))
            .or_else(|| variable("HOME").map(|dir| Path::new(&dir).join(".cache/lepton")))
            .ok_or(HostError::NoStore)?;
        let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let mirror = Mirror::find(variable(mirror::VARIABLE).as_deref(), &os_release, Path::new("/etc/apt"));
        let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // cargo names itself to the programs it runs.
        let cargo =
            variable("CARGO").map(PathBuf::from).or_else(|| on_path("cargo")).ok_or(HostError::NoCargo)?;
        Ok(Self {
            arch: Arch::host()?,
            store,
            mirror,
            substitute: variable(substitute::VARIABLE),
            cargo,
            jobs,
            home: variable("HOME").map(PathBuf::from),
        })
    }
}

impl Host {
    /// Whether `program` is on the machine's search path.
    pub fn has_program(&self, program: &str) -> bool {
        on_path(program).is_some()
    }

    /// Where `program` lies on the machine's search path: for what people configure themselves (go, pip).
    pub fn program(&self, program: &str) -> Option<PathBuf> {
        on_path(program)
    }
}

/// The password of a signing key, if the environment holds it.
pub fn sign_password() -> Option<String> {
    variable("LEPTON_SIGN_PASSWORD")
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = variable("PATH")?;
    path.split(':').map(|dir| Path::new(dir).join(program)).find(|path| path.is_file())
}

fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
