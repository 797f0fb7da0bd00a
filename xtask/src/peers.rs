//! Makes the programs of other people that tests need and no Debian package has; a build needs none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use lepton_boot_tests::Peer;
use lepton_boot_tests::cluster::Programs as ClusterPrograms;
use lepton_builder::arch::Arch;
use lepton_builder::artifact::Format;
use lepton_builder::compile::go::{self, Cgo, GoBuild, GoProgram};
use lepton_builder::fetch::Source;
use lepton_builder::process::Process;
use lepton_builder::pypi;

use crate::context::Context;
use crate::image::{self, Order};

/// Where their pins lie.
const FOLDER: &str = "images/boot-tests";
/// Images besides the one that is tested, and where they go: of services that misbehave, with the container runtime and
/// its judge, with kubelet and a shell, and with a shell alone.
const SERVICE_TESTS: &str = "service-tests";
const RUNTIME_TESTS: &str = "runtime-tests";
const NODE_TESTS: &str = "node-tests";
const DEBUG: &str = "debug";
/// The program `lepton` of a workstation.
const COMMAND_LINE: &str = "lepton-remote";
const OUT: &str = "out/test";
/// VMware's command line and the simulator of its API: independent readers of the appliance.
const GOVMOMI: &[GoProgram<'static>] = &[
    GoProgram { name: "govc", package: "github.com/vmware/govmomi/govc" },
    GoProgram { name: "vcsim", package: "github.com/vmware/govmomi/vcsim" },
];

/// Clients that judge services of the host; their programs lie where their pins do.
const STREAMING: &str = "streaming";
const CRI: &str = "cri";
const SHUTDOWN: &str = "shutdown";
/// The client, and the servers, that judge the HTTP router.
const ROUTE: &str = "route";
/// The client of go-spiffe.
const SPIFFE: &str = "spiffe";
/// What of Kubernetes' API server judges tokens.
const AUTHENTICATION: &str = "authentication";
/// SPIRE's programs. The server keeps its data in SQLite, which is C.
const SPIRE: &str = "spire";
const SPIRE_TAGS: &[&str] = &["sqlite_omit_load_extension"];
const SPIRE_PROGRAMS: &[GoProgram<'static>] = &[
    GoProgram { name: "spire-server", package: "github.com/spiffe/spire/cmd/spire-server" },
    GoProgram { name: "spire-agent", package: "github.com/spiffe/spire/cmd/spire-agent" },
    GoProgram {
        name: "oidc-discovery-provider",
        package: "github.com/spiffe/spire/support/oidc-discovery-provider",
    },
];
/// The collector's own receiver of OTLP, which prints what it was sent.
const OTLP: &str = "otlp";
/// A client of gRPC that reads published descriptions.
const GRPCURL: &str = "grpcurl";
/// What `kubectl top` asks, in a cluster.
const METRICS: &str = "metrics-server";

/// The program with cri-client, kubelet's library, that takes a pod through its life.
pub(crate) fn cri_client(context: &Context) -> Result<PathBuf> {
    own(context, CRI)
}

/// The program with client-go that judges a streaming server.
pub(crate) fn streaming_client(context: &Context) -> Result<PathBuf> {
    own(context, STREAMING)
}

/// The program with kubelet's own client of login1 that waits for the host's end.
pub(crate) fn shutdown_client(context: &Context) -> Result<PathBuf> {
    own(context, SHUTDOWN)
}

/// The program with Go's HTTP that judges the router.
pub(crate) fn route_client(context: &Context) -> Result<PathBuf> {
    own(context, ROUTE)
}

/// The program with go-spiffe that asks a Workload API as Go services do.
pub(crate) fn spiffe_client(context: &Context) -> Result<PathBuf> {
    own(context, SPIFFE)
}

/// The program with the API server's own judge of JSON Web Tokens.
pub(crate) fn authentication(context: &Context) -> Result<PathBuf> {
    own(context, AUTHENTICATION)
}

/// The program with the OpenTelemetry collector's receiver of OTLP.
pub(crate) fn otlp(context: &Context) -> Result<PathBuf> {
    own(context, OTLP)
}

/// grpcurl.
pub(crate) fn grpcurl(context: &Context) -> Result<PathBuf> {
    let program = GoProgram { name: GRPCURL, package: "github.com/fullstorydev/grpcurl/cmd/grpcurl" };
    Ok(go(context, GRPCURL, &[program])?.join(GRPCURL))
}

/// The folder with SPIRE's own programs: the server that identities come from, its provider of keys for OIDC, and the
/// agent that ours is compared with.
pub(crate) fn spire(context: &Context) -> Result<PathBuf> {
    go(context, SPIRE, SPIRE_PROGRAMS)
}

/// The program that lies in the folder of its pins.
fn own(context: &Context, name: &str) -> Result<PathBuf> {
    Ok(go(context, name, &[GoProgram { name, package: go::OWN }])?.join(name))
}

/// Kubernetes' module, and how it is compiled.
const KUBERNETES: &str = "kubernetes";
const TAGS: &[&str] = &["notest", "grpcnotrace"];
const STRINGS: &[(&str, &str)] = &[
    ("k8s.io/component-base/version.gitVersion", "v1.37.2"),
    ("k8s.io/component-base/version.gitMajor", "1"),
    ("k8s.io/component-base/version.gitMinor", "37"),
];

/// Where each of `wanted` lies, downloading and compiling what the store lacks.
pub(crate) fn make(context: &Context, arch: Arch, wanted: BTreeSet<Peer>) -> Result<BTreeMap<Peer, PathBuf>> {
    wanted.into_iter().map(|peer| Ok((peer, one(context, arch, peer)?))).collect()
}

fn one(context: &Context, arch: Arch, peer: Peer) -> Result<PathBuf> {
    match kind(peer) {
        Kind::Python => {
            let requirements = context.catalog.root().join(FOLDER).join("python/requirements.txt");
            let python = context.host.program("python3");
            Ok(pypi::python_tree(&requirements, python.as_deref(), &context.toolbox())?)
        }
        Kind::Govmomi => go(context, "govmomi", GOVMOMI),
        Kind::Image(name) => pxe(context, name, arch),
        Kind::CommandLine => command_line(context),
    }
}

/// The folder of the command line that people have, compiled for this machine.
fn command_line(context: &Context) -> Result<PathBuf> {
    let words = ["build", "--quiet", "--workspace", "--bin", COMMAND_LINE, "--message-format", "json"];
    let process = Process::new(&context.host.cargo).args(words).inherit_env().cwd(context.catalog.root());
    let output = process.output()?;
    let messages = output.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let made = messages.filter(|message| message["target"]["name"] == COMMAND_LINE);
    let mut paths = made.filter_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    let folder = paths.next_back().and_then(|path| path.parent().map(Path::to_owned));
    folder.with_context(|| format!("cargo does not say where {COMMAND_LINE} is"))
}

/// What a peer is.
enum Kind {
    Python,
    Govmomi,
    /// What people look at hosts with.
    CommandLine,
    /// An image of ours.
    Image(&'static str),
}

fn kind(peer: Peer) -> Kind {
    match peer {
        Peer::Python => Kind::Python,
        Peer::Govmomi => Kind::Govmomi,
        Peer::CommandLine => Kind::CommandLine,
        Peer::ServiceTests => Kind::Image(SERVICE_TESTS),
        Peer::RuntimeTests => Kind::Image(RUNTIME_TESTS),
        Peer::NodeTests => Kind::Image(NODE_TESTS),
        Peer::Debug => Kind::Image(DEBUG),
    }
}

/// The image that a peer is, where it is one.
pub(crate) fn image(peer: Peer) -> Option<&'static str> {
    match kind(peer) {
        Kind::Image(name) => Some(name),
        Kind::Python | Kind::Govmomi | Kind::CommandLine => None,
    }
}

/// The network boot folder of another image.
fn pxe(context: &Context, name: &str, arch: Arch) -> Result<PathBuf> {
    let out = context.catalog.root().join(OUT).join(name).join(arch.name());
    let order = Order::plain(&[Format::Pxe], &out);
    let built = image::build(context, &name.parse()?, arch, &order)?;
    Ok(out.join(format!("{}.pxe", built.locked.stem())))
}

/// Programs for this machine, of the modules that `go/NAME` pins.
fn go(context: &Context, name: &str, programs: &[GoProgram<'_>]) -> Result<PathBuf> {
    go_for(context, name, programs, context.host.arch)
}

/// The same for an architecture.
fn go_for(context: &Context, name: &str, programs: &[GoProgram<'_>], arch: Arch) -> Result<PathBuf> {
    let (tags, strings, cgo) = match name {
        // Those of packages/kubernetes/package.toml, so that the two builds share what they compile.
        KUBERNETES => (TAGS, STRINGS, Cgo::Off),
        SPIRE => (SPIRE_TAGS, &[][..], Cgo::On),
        _ => (&[][..], &[][..], Cgo::Off),
    };
    let build = GoBuild {
        name,
        folder: &context.catalog.root().join(FOLDER).join("go").join(name),
        programs,
        multi_call: None,
        tags,
        cgo,
        strings,
        arch,
        offline: matches!(context.source, Source::Offline),
    };
    Ok(build.output(&context.toolbox())?.dir().to_owned())
}

/// Whether a cluster has SPIRE's programs, which take long to compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spire {
    Made,
    LeftOut,
}

/// The programs of a cluster: those of the control plane for this machine, those of pods for its nodes.
pub(crate) fn cluster(context: &Context, arch: Arch, with: Spire) -> Result<ClusterPrograms> {
    let control = &[
        GoProgram { name: "kube-apiserver", package: "k8s.io/kubernetes/cmd/kube-apiserver" },
        GoProgram {
            name: "kube-controller-manager",
            package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        },
        GoProgram { name: "kube-scheduler", package: "k8s.io/kubernetes/cmd/kube-scheduler" },
        GoProgram { name: "kubectl", package: "k8s.io/kubernetes/cmd/kubectl" },
    ];
    let proxy = &[GoProgram { name: "kube-proxy", package: "k8s.io/kubernetes/cmd/kube-proxy" }];
    let etcd = &[GoProgram { name: "etcd", package: "go.etcd.io/etcd/server/v3" }];
    let coredns = &[GoProgram { name: "coredns", package: "github.com/coredns/coredns" }];
    let metrics = &[GoProgram { name: METRICS, package: "sigs.k8s.io/metrics-server/cmd/metrics-server" }];
    Ok(ClusterPrograms {
        etcd: go(context, "etcd", etcd)?.join("etcd"),
        kubernetes: go(context, KUBERNETES, control)?,
        kube_proxy: go_for(context, KUBERNETES, proxy, arch)?.join("kube-proxy"),
        coredns: go_for(context, "coredns", coredns, arch)?.join("coredns"),
        metrics_server: go_for(context, METRICS, metrics, arch)?.join(METRICS),
        spire: match with {
            Spire::Made => Some(spire(context)?),
            Spire::LeftOut => None,
        },
    })
}

/// Programs of Kubernetes' end-to-end suite.
#[derive(Debug)]
pub(crate) struct TestPrograms {
    /// The suite, for this machine.
    pub e2e: PathBuf,
    /// Those that pods of it run, for the nodes.
    pub agnhost: PathBuf,
    pub no_new_privileges: PathBuf,
    pub pause: PathBuf,
}

/// The suite for this machine, and its pods' programs for nodes of `arch`.
pub(crate) fn test_programs(context: &Context, arch: Arch) -> Result<TestPrograms> {
    let of_pods = &[
        GoProgram { name: "agnhost", package: "k8s.io/kubernetes/test/images/agnhost" },
        GoProgram { name: "nnp", package: "k8s.io/kubernetes/test/images/nonewprivs" },
    ];
    let pause = &[GoProgram { name: "pause", package: go::OWN }];
    let of_pods = go_for(context, "agnhost", of_pods, arch)?;
    Ok(TestPrograms {
        e2e: own(context, "e2e")?,
        agnhost: of_pods.join("agnhost"),
        no_new_privileges: of_pods.join("nnp"),
        pause: go_for(context, "pause", pause, arch)?.join("pause"),
    })
}
