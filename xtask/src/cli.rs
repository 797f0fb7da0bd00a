//! The arguments people type, and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lepton_builder::clock::Clock;

/// Build and run Lepton, a container-host operating system.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
#[command(after_help = "\
Environment:
  LEPTON_STORE          folder of the store (default: ~/.cache/lepton)
  LEPTON_DEBIAN_MIRROR  Debian archive to download from, then optionally its security archive
                        (default: the ones this machine's apt uses)
  LEPTON_SUBSTITUTE     another store to take finished outputs from: a folder, or an http(s) address
                        that serves one
  LEPTON_SIGN_PASSWORD  password of the key of --sign (default: ask on the terminal)

Exit codes:
  1  other errors, such as a full disk    2  a description, argument or the lock is wrong
  3  an input is missing or damaged       4  a compiler or tool failed
  5  `repro`: the builds differ           130  interrupted")]
pub(crate) struct Cli {
    /// Print errors only.
    #[arg(long, global = true)]
    pub quiet: bool,
    /// Repository to read [default: the one that this program was compiled from].
    #[arg(long, global = true, value_name = "DIR")]
    pub repo: Option<PathBuf>,
    /// Run every tool with another clock.
    #[arg(long, global = true, hide = true, value_name = "SECONDS:LIBRARY")]
    pub clock: Option<Clock>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build an image.
    Image(ImageOptions),
    /// Build an image and boot it in QEMU, with its serial console on this terminal (Ctrl-A X ends it).
    Run(RunOptions),
    /// Print the resolved plan of an image.
    Plan(PlanOptions),
    /// Test an image for both architectures: judged by other tools and booted in QEMU.
    Test(TestOptions),
    /// A Kubernetes cluster on this machine, whose nodes boot an image in QEMU.
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Write the documents that are made from descriptions: docs/api.md, docs/conformance.md, docs/hardening.md.
    Docs,
    /// Format, lint, unit-test and check the rules of the repository.
    Check,
    /// Build an image twice, differently, and compare every byte.
    Repro(ReproOptions),
    /// Measure sizes, virtual boot time and memory.
    Bench(BenchOptions),
    /// Check a machine config, or print what one may hold.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show or renew packages.lock.
    Lock(LockOptions),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// What to do with machine configs.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check a machine config: all mistakes with file and line, exit code 2 if there are any.
    Check {
        /// The machine config, in TOML.
        file: PathBuf,
    },
    /// Print the JSON schema (docs/config.schema.json).
    Schema,
    /// Print the reference (docs/config.md).
    Docs,
}

/// What to do with clusters.
#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Start a cluster and keep it until Ctrl-C.
    Up(ClusterOptions),
    /// Start a cluster and try what nodes have to do; ok or FAIL for each case.
    Test {
        /// Only cases whose name contains one of these.
        names: Vec<String>,
        /// Also what takes long.
        #[arg(long)]
        all: bool,
        /// Print the names of all cases instead.
        #[arg(long)]
        list: bool,
        #[command(flatten)]
        options: ClusterOptions,
    },
    /// Run a program on the network of the cluster that runs, with KUBECONFIG set: `run -- kubectl get pods`.
    Run {
        /// The program and its arguments [default: kubectl].
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Run Kubernetes' own specs for nodes against the cluster that runs, and note what comes out of them.
    Conformance(ConformanceOptions),
    /// Build the programs of the cluster and nothing else.
    Programs {
        /// Architecture of the nodes: x86_64 or aarch64 [default: this machine's].
        #[arg(long)]
        arch: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ConformanceOptions {
    /// Specs whose name contains one of these, also when they have a result [default: the next without one].
    pub names: Vec<String>,
    /// Specs that use most of what a node does, also when they have a result.
    #[arg(long, conflicts_with = "names")]
    pub variety: bool,
    /// Specs of this call.
    #[arg(long, default_value_t = 20)]
    pub specs: usize,
    /// Specs beside each other.
    #[arg(long, default_value_t = 4)]
    pub at_once: usize,
    /// Architecture of the nodes: x86_64 or aarch64 [default: this machine's].
    #[arg(long)]
    pub arch: Option<String>,
    /// Build what is needed and print the specs of the call instead.
    #[arg(long)]
    pub list: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClusterOptions {
    /// Number of nodes.
    #[arg(long, default_value_t = 2)]
    pub nodes: usize,
    /// Image that nodes boot: a name of a file in images/ [default: the one that says `default = true`].
    #[arg(long)]
    pub image: Option<String>,
    /// Architecture of the nodes: x86_64 or aarch64 [default: this machine's].
    #[arg(long)]
    pub arch: Option<String>,
    /// Memory of a node in MiB [default: 2048].
    #[arg(long)]
    pub memory: Option<u32>,
    /// A folder of OCI image layouts that the cluster's registry has besides its own.
    #[arg(long, value_name = "DIR")]
    pub layouts: Option<PathBuf>,
}

/// Which image, for what.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// Name of a file in images/ [default: the one that says `default = true`].
    pub image: Option<String>,
    /// x86_64 or aarch64 [default: this machine's].
    #[arg(long)]
    pub arch: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchOptions {
    #[command(flatten)]
    pub target: Target,
    /// The container runtime instead of an image, beside crun, runc and zstd on this machine; as root.
    #[arg(long, conflicts_with_all = ["image", "arch"])]
    pub containers: bool,
    /// What each package of the image adds to its unified kernel image, instead of everything else.
    #[arg(long, conflicts_with = "containers")]
    pub packages: bool,
    /// The identity agent instead of an image, beside SPIRE's agent on this machine, with 1000 workloads; as root.
    #[arg(long, conflicts_with_all = ["image", "arch", "containers", "packages"])]
    pub identity: bool,
    /// The management API and the sender of logs instead of an image, the latter beside rsyslog on this machine.
    #[arg(long, conflicts_with_all = ["image", "arch", "containers", "packages", "identity"])]
    pub host: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReproOptions {
    #[command(flatten)]
    pub target: Target,
    /// What to write, as for `image` [default: every format].
    #[arg(long, value_delimiter = ',', conflicts_with = "against")]
    pub format: Vec<String>,
    /// Build once and compare with the artifacts that DIR/SHA256SUMS lists: reproduce a release.
    #[arg(long, value_name = "DIR")]
    pub against: Option<PathBuf>,
    /// Take this from the store instead of building it: minutes instead of an hour.
    #[arg(long, value_enum)]
    pub shared: Vec<Shared>,
    /// Leave this the same in both builds: to find what a difference comes from. Several with commas.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub same: Vec<Change>,
    /// Change one byte of this artifact of the second build: shows that differences are found.
    #[arg(long, hide = true, value_name = "FILE", conflicts_with = "against")]
    pub plant: Option<PathBuf>,
}

/// What two builds may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shared {
    /// The compiled kernel.
    Kernel,
    /// Everything compiled: only the root file system, the initrd and the formats are made twice.
    Compiled,
}

/// What differs between two builds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Change {
    /// The user.
    User,
    /// The file mode creation mask.
    Umask,
    /// The language.
    Locale,
    /// The time zone.
    Zone,
    /// The time.
    Clock,
    /// Processes at once.
    Jobs,
    /// The order of files in folders.
    Order,
}

#[derive(Debug, Args)]
pub(crate) struct ImageOptions {
    #[command(flatten)]
    pub target: Target,
    /// What to write: uki, raw, qcow2, vmdk, ova, iso, pxe; several with commas [default: iso,ova].
    #[arg(long, value_delimiter = ',')]
    pub format: Vec<String>,
    /// Folder for the artifacts.
    #[arg(long, default_value = "out")]
    pub out: PathBuf,
    /// Processes at once [default: as many as processors].
    #[arg(long)]
    pub jobs: Option<usize>,
    /// Machine config in TOML to build in: the default that the host starts with.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Sign SHA256SUMS with this minisign secret key.
    #[arg(long, value_name = "KEYFILE")]
    pub sign: Option<PathBuf>,
    /// Download nothing: everything must be in the store.
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanOptions {
    #[command(flatten)]
    pub target: Target,
    /// Print the resolved kernel configuration instead.
    #[arg(long)]
    pub kernel_config: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub target: Target,
    /// What to boot.
    #[arg(long, value_enum, default_value_t = RunFormat::Raw)]
    pub format: RunFormat,
    /// Firmware of the machine.
    #[arg(long, value_enum, default_value_t = RunFirmware::Uefi)]
    pub firmware: RunFirmware,
    /// Memory in MiB [default: what the image's machine has].
    #[arg(long)]
    pub memory: Option<u32>,
    /// Processors [default: what the image's machine has].
    #[arg(long)]
    pub smp: Option<u32>,
    /// Forward a TCP port of this machine to the guest: HOST:GUEST. May be repeated.
    #[arg(long, value_name = "HOST:GUEST")]
    pub forward: Vec<String>,
    /// Download nothing.
    #[arg(long)]
    pub offline: bool,
}

/// What `run` boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFormat {
    /// The disk image.
    Raw,
    /// The disk image for QEMU.
    Qcow2,
    /// The CD.
    Iso,
    /// Kernel and initrd, without firmware: quickest.
    Kernel,
}

/// Firmware that `run` boots with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunFirmware {
    /// SeaBIOS: the ISO only, x86_64 only.
    Bios,
    /// OVMF or AAVMF.
    Uefi,
}

#[derive(Debug, Args)]
pub(crate) struct TestOptions {
    /// Only tests of artifacts whose name contains one of these.
    pub names: Vec<String>,
    /// Image to test [default: `minimal` in every format, then what is special about the default image].
    #[arg(long)]
    pub image: Option<String>,
    /// x86_64 or aarch64 [default: both].
    #[arg(long)]
    pub arch: Option<String>,
    /// Also the tests that take long and nearly repeat another.
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LockOptions {
    /// Take current versions from the mirror: of all packages, or of the one named.
    #[arg(long, value_name = "PACKAGE", num_args = 0..=1, default_missing_value = "")]
    pub update: Option<String>,
}
