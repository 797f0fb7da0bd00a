//! `cluster`: a Kubernetes cluster on this machine, whose nodes boot an image of ours in QEMU.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lepton_boot_tests::cluster::{self, Cluster, MOST_NODES, Programs, REGISTRY, Running, Setup};
use lepton_boot_tests::machine::Kernel;
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::build;
use lepton_builder::preload::{self, Container};
use lepton_builder::scratch::Scratch;

use crate::cli::{Cli, ClusterCommand, ClusterOptions, Target};
use crate::conformance;
use crate::context::{CommandResult, Context};
use crate::exit::BadArgument;
use crate::image::{self, Order};
use crate::peers::{self, Spire};

/// Images and folders of clusters.
pub(crate) const OUT: &str = "out/cluster";
/// Folder in it with the layouts that every cluster's registry has, beside those of the cluster alone.
pub(crate) const LAYOUTS: &str = "layouts";
/// Memory of a node: kubelet, the runtime and a few dozen pods.
const MEMORY_MIB: u32 = 2048;
/// Time between two looks at the processes of a cluster that people use.
const LOOK: Duration = Duration::from_secs(5);

/// `cargo xtask cluster`.
pub(crate) fn cluster(command: &ClusterCommand, cli: &Cli) -> CommandResult {
    match command {
        ClusterCommand::Programs { arch } => {
            let context = Context::new(cli, false)?;
            let (_, arch) = context.target(&Target { image: None, arch: arch.clone() })?;
            let programs = peers::cluster(&context, arch, Spire::Made)?;
            let Programs { etcd, kubernetes, kube_proxy, coredns, metrics_server, spire } = programs;
            for path in [etcd, kubernetes, kube_proxy, coredns, metrics_server].into_iter().chain(spire) {
                context.progress.line(&path.display().to_string());
            }
            Ok(ExitCode::SUCCESS)
        }
        ClusterCommand::Up(options) => up(options, cli),
        ClusterCommand::Test { names, all, list: true, .. } => {
            let _ = (names, all);
            for name in cluster::list() {
                writeln!(std::io::stdout(), "{name}")?;
            }
            Ok(ExitCode::SUCCESS)
        }
        ClusterCommand::Test { names, all, options, .. } => test(names, *all, options, cli),
        ClusterCommand::Run { command } => run(command, cli),
        ClusterCommand::Conformance(options) => conformance::conformance(options, cli),
    }
}

/// Starts a cluster and keeps it until Ctrl-C.
fn up(options: &ClusterOptions, cli: &Cli) -> CommandResult {
    let context = Context::new(cli, false)?;
    let (mut cluster, folder) = start(&context, options, Spire::LeftOut)?;
    let kubeconfig = folder.path().join("kubeconfig");
    context.progress.line(&format!(
        "the cluster runs; in another terminal:\n\n  cargo xtask cluster run -- kubectl get nodes,pods -A\n\n\
         `cluster run -- COMMAND` runs any program on the cluster's network, with KUBECONFIG set to\n{}\n\
         images of the registry: {REGISTRY}/busybox:1; Ctrl-C ends the cluster",
        kubeconfig.display()
    ));
    loop {
        cluster.check()?;
        thread::sleep(LOOK);
    }
}

/// Starts a cluster and runs the cases.
fn test(names: &[String], all: bool, options: &ClusterOptions, cli: &Cli) -> CommandResult {
    for name in names {
        if !cluster::list().any(|known| known.contains(name.as_str())) {
            let known: Vec<&str> = cluster::list().collect();
            return Err(
                BadArgument(format!("no case is called {name:?}; there are {}", known.join(", "))).into()
            );
        }
    }
    let context = Context::new(cli, false)?;
    let spire = if cluster::needs_spire(names) && has_identity(&context, options)? {
        Spire::Made
    } else {
        Spire::LeftOut
    };
    if spire == Spire::LeftOut && cluster::only_spire(names) {
        let text = "the image of the nodes has no package identity\nhint: the default image has it";
        return Err(BadArgument(text.to_owned()).into());
    }
    let (mut cluster, _folder) = start(&context, options, spire)?;
    let failed = cluster::run(&mut cluster, names, all, &mut std::io::stderr())?;
    let specs = if all && names.is_empty() {
        context.progress.line("== Kubernetes' own specs");
        let (_, arch) = context.target(&Target { image: None, arch: options.arch.clone() })?;
        conformance::try_variety(&context, arch)
    } else {
        Ok(())
    };
    drop(cluster);
    if !failed.is_empty() {
        bail!("{} of the cases failed: {}", failed.len(), failed.join(", "));
    }
    specs?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a program on the network of the cluster that another process runs.
fn run(command: &[String], cli: &Cli) -> CommandResult {
    let parent = crate::context::repo(cli).join(OUT);
    let hint = "no cluster runs\nhint: start one in another terminal: cargo xtask cluster up";
    let running = Running::find(&parent).context(hint)?;
    let status = running.process(command).run_attached()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Whether the image of the nodes has the package by which a host gets an identity.
fn has_identity(context: &Context, options: &ClusterOptions) -> Result<bool> {
    let (image, arch) =
        context.target(&Target { image: options.image.clone(), arch: options.arch.clone() })?;
    let plan = build::plan(&context.catalog, &image, arch)?;
    Ok(plan.packages.iter().any(|package| package.name.as_str() == "identity"))
}

/// Builds what is needed and starts a cluster in a folder of its own, which goes with it.
fn start(context: &Context, options: &ClusterOptions, with: Spire) -> Result<(Cluster, Scratch)> {
    if !(1..=MOST_NODES).contains(&options.nodes) {
        return Err(
            BadArgument(format!("a cluster has 1 to {MOST_NODES} nodes, not {}", options.nodes)).into()
        );
    }
    let target = Target { image: options.image.clone(), arch: options.arch.clone() };
    let (name, arch) = context.target(&target)?;
    let parent = context.catalog.root().join(OUT);
    let images = parent.join("images").join(name.as_str()).join(arch.name());
    let built = image::build(context, &name, arch, &Order::plain(&[Format::Pxe], &images))?;
    let pxe = images.join(format!("{}.pxe", built.locked.stem()));
    let cmdline = &built.locked.plan().cmdline;
    let kernel = Kernel::new(&pxe.join(arch.direct_boot_kernel()), &pxe.join("initrd"), cmdline);
    let programs = peers::cluster(context, arch, with)?;
    let tools = context.toolbox().tree("test")?;
    let folder =
        Scratch::new_in(&parent, "run-").with_context(|| format!("cannot write to {}", parent.display()))?;
    let layouts = parent.join(LAYOUTS);
    fs::create_dir_all(&layouts).with_context(|| format!("cannot make {}", layouts.display()))?;
    let mut registry = vec![containers(context, arch, &programs, folder.path())?, layouts];
    if let Some(path) = &options.layouts {
        registry.push(path.canonicalize().with_context(|| format!("cannot find {}", path.display()))?);
    }
    let setup = Setup {
        programs,
        tools: tools.root().to_owned(),
        kernel,
        arch,
        memory_mib: options.memory.unwrap_or(MEMORY_MIB),
        nodes: options.nodes,
        registry,
        folder: folder.path().to_owned(),
    };
    let say = |text: &str| context.progress.line(text);
    say(&format!(
        "starting a cluster of {} nodes; keys, logs and disks are in {}",
        options.nodes,
        folder.path().display()
    ));
    let mut cluster = Cluster::start(setup, &say)?;
    cluster.wait_nodes()?;
    say("every node is ready");
    cluster.wait_services()?;
    say("services and names work");
    Ok((cluster, folder))
}

/// The container images that every cluster's registry has; gives the folder of their layout's folder.
fn containers(context: &Context, arch: Arch, programs: &Programs, folder: &Path) -> Result<PathBuf> {
    let name = |image: &str| format!("{REGISTRY}/{image}:1");
    let (busybox, proxy) = (name("busybox"), name("kube-proxy"));
    let (coredns, metrics) = (name("coredns"), name("metrics-server"));
    let containers = [
        Container {
            name: &busybox,
            packages: &["busybox"],
            command: &["/usr/bin/sh"],
            ..Container::default()
        },
        Container {
            name: &proxy,
            packages: &["nftables"],
            programs: &[("/usr/bin/kube-proxy", &programs.kube_proxy)],
            command: &["/usr/bin/kube-proxy"],
            ..Container::default()
        },
        Container {
            name: &coredns,
            programs: &[("/usr/bin/coredns", &programs.coredns)],
            command: &["/usr/bin/coredns"],
            ..Container::default()
        },
        Container {
            name: &metrics,
            programs: &[("/usr/bin/metrics-server", &programs.metrics_server)],
            command: &["/usr/bin/metrics-server"],
            ..Container::default()
        },
    ];
    let registry = folder.join("registry");
    preload::write_layout(
        &containers,
        &context.catalog,
        arch,
        &context.toolbox(),
        &registry.join("cluster"),
    )?;
    Ok(registry)
}
