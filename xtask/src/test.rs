//! `test`: all of `check`, then the image in every format for every architecture, judged by other people's tools and
//! booted in QEMU.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use lepton_boot_tests as boot_tests;
use lepton_boot_tests::{Budgets, Goldens, Selection};
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build::Built;
use lepton_builder::hardening::Exceptions;
use lepton_builder::name::ImageName;
use lepton_builder::process::Process;

use crate::ahead;
use crate::check;
use crate::cli::{Cli, Target, TestOptions};
use crate::containers;
use crate::context::{CommandResult, Context};
use crate::image::{self, Order};
use crate::peers;

/// Where the tested artifacts lie, in one folder for each architecture.
const OUT: &str = "out/test";
/// What is tested in every format when no image is named: it is started dozens of times, and a small one takes seconds.
const SMALLEST: &str = "minimal";
/// What the default image is tested for besides that: what depends on its size and on its services. As people write
/// them, so that `ova` stands for the appliance's judges, too.
const OF_DEFAULT: [&str; 6] = ["kernel", "budgets", "iso-cd-uefi", "judge-sizes", "judge-paths", "ova"];
/// The formats for those; judges compare the appliance's disk with the raw one.
const FORMATS_OF_DEFAULT: [Format; 5] = [Format::Iso, Format::Raw, Format::Ova, Format::Pxe, Format::Uki];
/// Longest real time of one boot: a boot takes 10 to 30 seconds in emulation, and machines may be slow.
const BOOT_LIMIT: Duration = Duration::from_secs(240);
/// Tells tests that need real tools where the store is.
const STORE_VARIABLE: &str = "LEPTON_TEST_STORE";
/// Tells them what that store was filled for: an image and an architecture.
const IMAGE_VARIABLE: &str = "LEPTON_TEST_IMAGE";
/// Tells the tests of the streaming server where client-go's program is.
const CLIENT_GO_VARIABLE: &str = "LEPTON_TEST_CLIENT_GO";
/// Tells the test of the host's login1 where kubelet's client is.
const SHUTDOWN_VARIABLE: &str = "LEPTON_TEST_SHUTDOWN";
/// Tells the tests of the router where Go's client and servers are.
const ROUTE_CLIENT_VARIABLE: &str = "LEPTON_TEST_ROUTE_CLIENT";
/// Tells the tests of identities where SPIRE's programs are, the client of go-spiffe, and what judges tokens for Kubernetes.
const SPIRE_VARIABLE: &str = "LEPTON_TEST_SPIRE";
const SPIFFE_CLIENT_VARIABLE: &str = "LEPTON_TEST_SPIFFE_CLIENT";
const AUTHENTICATION_VARIABLE: &str = "LEPTON_TEST_AUTHENTICATION";
/// Tells the judges of the management API where rsyslog, Prometheus and openssl are, grpcurl, and the collector's receiver.
const MONITORING_VARIABLE: &str = "LEPTON_TEST_MONITORING";
const GRPCURL_VARIABLE: &str = "LEPTON_TEST_GRPCURL";
const OTLP_VARIABLE: &str = "LEPTON_TEST_OTLP";
/// Tool sets that tests look into the store for: judges, networks and certificates, and a container registry.
const TEST_SETS: [&str; 2] = ["test", "containers"];
/// The set with receivers of logs and metrics.
pub(crate) const MONITORING: &str = "monitoring";
/// Tests that are left out without these.
const WITH_TOOLS: [&str; 8] =
    ["with_tools", "namespaces", "registry", "client_go", "godbus", "router", "spire", "judges"];

/// `cargo xtask test`.
pub(crate) fn test(options: &TestOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let image = options.image.clone().or_else(|| Some(SMALLEST.to_owned()));
    let (image, first) = context.target(&Target { image, arch: options.arch.clone() })?;
    let mut arches = vec![first];
    if options.arch.is_none() {
        arches.extend(Arch::ALL.into_iter().filter(|arch| *arch != first));
    }
    if options.names.is_empty() {
        let failed = check::failures(cli)?;
        if !failed.is_empty() {
            bail!("these checks failed: {}", failed.join(", "));
        }
    }
    let selection = Selection { names: options.names.clone(), all: options.all };
    let mut later = Vec::new();
    for (index, arch) in arches.iter().enumerate() {
        // The first image is compiled at once.
        later.extend((index > 0).then(|| (image.clone(), *arch)));
        for peer in boot_tests::peers(*arch, &selection) {
            if let Some(name) = peers::image(peer) {
                later.push((name.parse()?, *arch));
            }
        }
    }
    ahead::start(cli, &context, later)?;
    let mut failed = 0;
    for arch in arches {
        let command_line = options.names.is_empty() && arch == first;
        let suite = Suite { formats: &Format::ALL, names: options.names.clone(), command_line };
        failed += artifacts(&context, &image, arch, options, &suite)?;
        if options.image.is_none() {
            failed += of_default(&context, arch, options)?;
        }
    }
    if failed > 0 {
        bail!("{failed} of the tests failed");
    }
    Ok(ExitCode::SUCCESS)
}

/// What of an image is tested.
struct Suite<'a> {
    formats: &'a [Format],
    /// As people write them; without any: everything.
    names: Vec<String>,
    /// Whether tests of the command line and of code that needs the tool tree belong to it.
    command_line: bool,
}

/// The tests of the default image, as far as they are among those that people ask for.
fn of_default(context: &Context, arch: Arch, options: &TestOptions) -> Result<usize> {
    let (image, _) = context.target(&Target { image: None, arch: Some(arch.to_string()) })?;
    let asked = &options.names;
    let is_asked = |name: &str| asked.is_empty() || asked.iter().any(|asked| name.contains(asked.as_str()));
    let names: Vec<String> =
        OF_DEFAULT.into_iter().filter(|name| is_asked(name)).map(str::to_owned).collect();
    if names.is_empty() || image.to_string() == SMALLEST {
        return Ok(0);
    }
    if !options.all {
        context
            .progress
            .line(&format!("{image} for {arch}: only with --all, because kubelet takes long to compile"));
        return Ok(0);
    }
    artifacts(
        context,
        &image,
        arch,
        options,
        &Suite { formats: &FORMATS_OF_DEFAULT, names, command_line: false },
    )
}

/// Builds the image, judges and boots it; returns how many tests failed.
fn artifacts(
    context: &Context,
    image: &ImageName,
    arch: Arch,
    options: &TestOptions,
    suite: &Suite<'_>,
) -> Result<usize> {
    context.progress.line(&format!("== {image} for {arch}"));
    let out = context.catalog.root().join(OUT).join(image.as_str()).join(arch.name());
    let built = image::build(context, image, arch, &Order::plain(suite.formats, &out))?;
    if suite.command_line {
        context.progress.line(
            "== what needs real tools and peers: command line, network, registry, streams, routes, identities, API, logs",
        );
        for set in TEST_SETS {
            context.toolbox().tree(set)?;
        }
        // A test of another crate calls it, and would not make it.
        let command_line = ["build", "--quiet", "--workspace", "--bin", "lepton-id"];
        succeed(context, Process::new(&context.host.cargo).args(command_line))?;
        // The whole workspace again: another selection of packages would compile them anew with other features.
        let mut process = Process::new(&context.host.cargo)
            .args(["test", "--quiet", "--workspace"])
            .args(WITH_TOOLS.iter().flat_map(|name| ["--test", name]))
            .env(STORE_VARIABLE, &context.host.store)
            .env(IMAGE_VARIABLE, format!("{image} {arch}"))
            .env(CLIENT_GO_VARIABLE, peers::streaming_client(context)?)
            .env(SHUTDOWN_VARIABLE, peers::shutdown_client(context)?)
            .env(ROUTE_CLIENT_VARIABLE, peers::route_client(context)?)
            .env(MONITORING_VARIABLE, context.toolbox().tree(MONITORING)?.root())
            .env(GRPCURL_VARIABLE, peers::grpcurl(context)?)
            .env(OTLP_VARIABLE, peers::otlp(context)?);
        if options.all {
            process = process
                .env(SPIRE_VARIABLE, peers::spire(context)?)
                .env(SPIFFE_CLIENT_VARIABLE, peers::spiffe_client(context)?)
                .env(AUTHENTICATION_VARIABLE, peers::authentication(context)?);
        } else {
            context
                .progress
                .line("identities of SPIRE's server: only with --all, because that takes long to compile");
        }
        succeed(context, process)?;
        containers::test(context)?;
    }
    context.progress.line(&format!("== artifacts of {image} for {arch}"));
    let selection = Selection { names: suite.names.clone(), all: options.all };
    let mut boot_context = boot_context(context, &built, &out)?;
    boot_context.peers = peers::make(context, arch, boot_tests::peers(arch, &selection))?;
    let summary = boot_tests::run(&boot_context, &selection, &mut std::io::stderr())?;
    // A name may be of tests that exist for the other architecture only.
    if options.arch.is_some() && !summary.is_success() {
        return Ok(summary.failed.len().max(1));
    }
    Ok(summary.failed.len())
}

/// What boots and judges are given.
pub(crate) fn boot_context(context: &Context, built: &Built, out: &Path) -> Result<boot_tests::Context> {
    let plan = built.locked.plan();
    let tools = context.toolbox().tree("test")?;
    let repo = context.catalog.root();
    let folders = [Some(context.store.root().to_owned()), Some(repo.to_owned()), context.host.home.clone()];
    Ok(boot_tests::Context {
        artifacts: out.to_owned(),
        stem: built.locked.stem(),
        arch: plan.arch,
        tools: tools.root().to_owned(),
        peers: BTreeMap::new(),
        cpus: plan.machine.cpus,
        memory_mib: plan.machine.memory_mib,
        cmdline: plan.cmdline.clone(),
        budgets: Budgets {
            ready_ms: plan.budgets.ready_ms,
            ready_percent_of_start: plan.budgets.ready_percent_of_start,
            mem_used_kb: plan.budgets.memory_at_ready_kib,
            kernel_bytes: plan.budgets.kernel_bytes.of(plan.arch),
            uki_bytes: plan.budgets.uki_bytes,
        },
        limit: BOOT_LIMIT,
        root_listing: built.root_listing.clone(),
        kernel_config: repo.join(format!("kernel-config/resolved/{}.config", plan.arch)),
        goldens: goldens(),
        hardening: Exceptions::load(repo)?,
        host_paths: folders.into_iter().flatten().collect(),
    })
}

/// As the crate expect-test has it, so that one variable refreshes every golden file.
fn goldens() -> Goldens {
    #[expect(clippy::disallowed_methods, reason = "a switch for people who run tests, seen by no build")]
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    if update { Goldens::Update } else { Goldens::Compare }
}

fn succeed(context: &Context, process: Process) -> Result<()> {
    if !process.inherit_env().cwd(context.catalog.root()).run_attached()?.success() {
        bail!("the tests of the code failed");
    }
    Ok(())
}
