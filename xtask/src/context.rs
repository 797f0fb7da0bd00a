//! What every command needs: the repository, the machine, the store and the tools.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use lepton_builder::arch::Arch;
use lepton_builder::digest::Digest;
use lepton_builder::fetch::Source;
use lepton_builder::host::Host;
use lepton_builder::lock::{self, Lock};
use lepton_builder::lock_update::Tools;
use lepton_builder::name::ImageName;
use lepton_builder::programs::ProgramBuilds;
use lepton_builder::progress::Progress;
use lepton_builder::spec::Catalog;
use lepton_builder::store::Store;
use lepton_builder::substitute::Substitute;
use lepton_builder::tools::Toolbox;

use crate::cli::{Cli, Target};

/// The outcome of a command.
pub(crate) type CommandResult = Result<ExitCode>;

/// The repository and the machine.
#[derive(Debug)]
pub(crate) struct Context {
    pub catalog: Catalog,
    pub host: Host,
    pub store: Store,
    pub lock: Lock,
    pub tools: Tools,
    pub source: Source,
    pub progress: Progress,
}

impl Context {
    /// Reads everything that does not depend on the image.
    pub(crate) fn new(cli: &Cli, offline: bool) -> Result<Self> {
        let repo = repo(cli);
        let host = Host::detect()?;
        let progress = if cli.quiet { Progress::quiet() } else { Progress::new() };
        let mut store = Store::open(&host.store)?;
        if let Some(text) = &host.substitute {
            store = store.with_substitute(Substitute::new(text, host.arch, offline, progress.clone())?);
        }
        let lock = Lock::load(&repo.join(lock::FILE_NAME))?;
        let tools = Tools::load(&repo)?;
        let source = match (&host.mirror, offline) {
            (_, true) => Source::Offline,
            (Ok(mirror), _) => Source::Mirror(mirror.clone()),
            (Err(error), _) => Source::Unknown(error.to_string()),
        };
        Ok(Self { catalog: Catalog::new(&repo), host, store, lock, tools, source, progress })
    }

    /// The tools of this machine's architecture.
    pub(crate) fn toolbox(&self) -> Toolbox<'_> {
        Toolbox {
            lock: &self.lock,
            tools: &self.tools,
            host: self.host.arch,
            store: &self.store,
            source: &self.source,
            progress: &self.progress,
        }
    }

    /// How programs of ours are compiled for an architecture.
    pub(crate) fn program_builds(&self, arch: Arch) -> ProgramBuilds<'_> {
        ProgramBuilds {
            repo: self.catalog.root(),
            arch,
            cargo: &self.host.cargo,
            offline: matches!(self.source, Source::Offline),
        }
    }

    /// The image and architecture that were asked for.
    pub(crate) fn target(&self, target: &Target) -> Result<(ImageName, Arch)> {
        let image = match &target.image {
            Some(name) => name.parse()?,
            None => self.catalog.default_image()?,
        };
        let arch = match &target.arch {
            Some(name) => name.parse()?,
            None => self.host.arch,
        };
        Ok((image, arch))
    }
}

/// The top of the repository to read: the one asked for, else the one that this program was compiled from.
pub(crate) fn repo(cli: &Cli) -> PathBuf {
    let compiled_from =
        || Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned();
    cli.repo.clone().unwrap_or_else(compiled_from)
}

/// Identifies this program: another one may write other bytes from the same inputs.
pub(crate) fn own_digest() -> Result<Digest> {
    let (digest, _) = Digest::of_file(Path::new("/proc/self/exe")).context("cannot read this program")?;
    Ok(digest)
}
