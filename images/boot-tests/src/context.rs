//! What every boot test is given: the artifacts of one image, the tools, and the budgets.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lepton_builder::arch::Arch;
use lepton_builder::hardening::Exceptions;
use lepton_builder::process::ProcessError;

use crate::guest::{Guest, GuestError};
use crate::machine::{Bus, Disk, DiskFormat, Firmware, Kernel, Machine};
use crate::ready::Ready;
use crate::runner::Peer;

/// Upper limits for one image on one architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budgets {
    /// Virtual milliseconds from the kernel's start to the `lepton: ready` line.
    pub ready_ms: u64,
    /// The same in percent of the time to the start of PID 1, for images that limit it.
    pub ready_percent_of_start: Option<u64>,
    /// Memory in use at that line, in KiB.
    pub mem_used_kb: u64,
    /// The compressed kernel, in bytes.
    pub kernel_bytes: u64,
    /// The unified kernel image, in bytes.
    pub uki_bytes: u64,
}

/// What happens to golden files that differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goldens {
    /// They fail their test.
    Compare,
    /// They are written anew.
    Update,
}

/// The artifacts of one image and what is needed to boot them.
#[derive(Clone, Debug)]
pub struct Context {
    /// Folder that holds the artifacts.
    pub artifacts: PathBuf,
    /// Their common name, for example `lepton-minimal-0.1.0-x86_64`.
    pub stem: String,
    /// Architecture of the image.
    pub arch: Arch,
    /// The unpacked tool tree with QEMU, firmware, iproute2, dnsmasq and busybox.
    pub tools: PathBuf,
    /// What tests need beside it, as far as it was made.
    pub peers: BTreeMap<Peer, PathBuf>,
    /// Kernel command line of the image, for boots without a unified kernel image.
    pub cmdline: String,
    /// Virtual processors that the appliance asks for.
    pub cpus: u32,
    /// Memory that it asks for, in MiB.
    pub memory_mib: u32,
    /// Limits that the `budgets` test holds the image to.
    pub budgets: Budgets,
    /// Longest real time that one boot may take.
    pub limit: Duration,
    /// The root as `lepton_builder::tree::RootTree::listing` describes it.
    pub root_listing: String,
    /// The golden file of the kernel's resolved configuration.
    pub kernel_config: PathBuf,
    /// What happens when it differs.
    pub goldens: Goldens,
    /// The list of hardening checks that the kernel fails on purpose.
    pub hardening: Exceptions,
    /// Folders of this machine that no artifact may name: the store, the repository, the home folder.
    pub host_paths: Vec<PathBuf>,
}

/// Why a boot test failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestError {
    /// The guest did not do what it should.
    #[error(transparent)]
    Guest(#[from] GuestError),
    /// An artifact was not built.
    #[error("cannot find the artifact {0}\nhint: build the image with all its formats first")]
    NoArtifact(PathBuf),
    /// The image is slower or larger than it may be.
    #[error("{what} is over its budget of {budget}: {}", value.map_or("not reported".to_owned(), |value| value.to_string()))]
    OverBudget {
        /// Field of the `lepton: ready` line.
        what: &'static str,
        /// What was measured, if the guest said it.
        value: Option<u64>,
        /// Upper limit.
        budget: u64,
    },
    /// The appliance archive is not as it should be.
    #[error("cannot take the disk out of {path}")]
    Appliance {
        /// The archive.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A judge found something wrong.
    #[error("{judge}: {reason}")]
    Refused {
        /// The tool, or what else was asked.
        judge: &'static str,
        /// What it said.
        reason: String,
    },
    /// A judge accepted a file that is wrong on purpose, so what it accepts proves nothing.
    #[error("the judge of {file} does not notice {defect}")]
    Blind {
        /// The sound file.
        file: PathBuf,
        /// What was made wrong in a copy.
        defect: &'static str,
    },
    /// A tool could not be asked.
    #[error(transparent)]
    Tool(ProcessError),
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The machine that runs the tests lacks something.
    #[error("cannot run here: {0}")]
    NotHere(String),
}

impl TestError {
    /// Makes an error of a file operation.
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl Context {
    /// Where a program of other people lies.
    pub(crate) fn peer(&self, peer: Peer) -> Result<&Path, TestError> {
        let path = self.peers.get(&peer);
        path.map(PathBuf::as_path).ok_or_else(|| TestError::NotHere(format!("{peer:?} was not made")))
    }

    /// A UEFI machine of the image's architecture.
    pub fn uefi(&self) -> Machine {
        Machine::new(self.arch)
    }

    /// A machine with PC firmware.
    pub fn bios(&self) -> Machine {
        Machine::new(self.arch).firmware(Firmware::Bios)
    }

    /// A disk over the artifact with this extension, whose name says its format.
    pub fn disk(&self, extension: &str, bus: Bus) -> Result<Disk, TestError> {
        let format = match extension {
            "qcow2" => DiskFormat::Qcow2,
            "vmdk" => DiskFormat::Vmdk,
            _ => DiskFormat::Raw,
        };
        Ok(Disk::new(&self.artifact(extension)?, format, bus))
    }

    /// The artifact with this extension.
    pub fn artifact(&self, extension: &str) -> Result<PathBuf, TestError> {
        found(self.artifacts.join(format!("{}.{extension}", self.stem)))
    }

    /// Kernel and initrd of the network boot folder, with the image's command line. The kernel is the one that
    /// starts without EFI.
    pub fn kernel(&self) -> Result<Kernel, TestError> {
        let dir = self.artifact("pxe")?;
        let (image, initrd) = (found(dir.join(self.arch.direct_boot_kernel()))?, found(dir.join("initrd"))?);
        Ok(Kernel::new(&image, &initrd, &self.cmdline))
    }

    /// Starts `machine`.
    pub fn start(&self, machine: &Machine) -> Result<Guest, TestError> {
        Ok(Guest::start(machine, &self.tools, self.limit)?)
    }

    /// Whether the guest is the image and version that the artifacts are named after: an old file would boot, too.
    fn is_of(&self, ready: &Ready) -> bool {
        let name = ready.image.as_deref().zip(ready.version.as_deref());
        name.is_some_and(|(image, version)| self.stem.starts_with(&format!("lepton-{image}-{version}-")))
    }

    /// Boots `machine` until it is ready as every image must be, asks `check`, and powers it off.
    pub(crate) fn boot(&self, machine: &Machine, check: Check<'_>) -> Result<(), TestError> {
        let mut guest = self.start(machine)?;
        let ready = guest.wait_ready()?;
        guest.require(self.is_of(&ready), || format!("it is the image that {} is named after", self.stem))?;
        guest.require(ready.config.errors.is_empty(), || "the machine config has no errors".to_owned())?;
        for (fact, holds) in check(&ready) {
            guest.require(holds, || fact)?;
        }
        Ok(guest.power_off()?)
    }
}

/// Facts about a ready guest, each with whether it holds.
pub(crate) type Check<'a> = &'a dyn Fn(&Ready) -> Vec<(String, bool)>;

fn found(path: PathBuf) -> Result<PathBuf, TestError> {
    if path.exists() { Ok(path) } else { Err(TestError::NoArtifact(path)) }
}

/// Whether the device node `path` can be opened for reading and writing.
pub(crate) fn need_device(path: &Path) -> Result<(), TestError> {
    let open = std::fs::OpenOptions::new().read(true).write(true).open(path);
    open.map(drop).map_err(|error| TestError::NotHere(format!("cannot open {}: {error}", path.display())))
}
