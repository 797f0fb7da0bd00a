//! The OCI runtime specification's `config.json` of a container, from what CRI asks for. It must not change the host.

mod capabilities;
mod default_calls;
mod devices;
mod mounts;
mod seccomp;

use std::path::{Path, PathBuf};

use lepton_cri::v1::{
    ContainerConfig, LinuxContainerSecurityContext, NamespaceMode, SecurityProfile,
    security_profile::ProfileType,
};
use lepton_runtime_images::ImageConfig;
use lepton_runtime_shim::pod;
use serde_json::{Value, json};

use crate::container::User;
use crate::error::{Failure, Result};
use crate::sandbox::Sandbox;

/// What an image's `PATH` is when it has none.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Paths that show or change what is the host's, unless CRI says otherwise: the lists of moby and containerd.
const MASKED: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What a container is made from.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) config: &'a ContainerConfig,
    pub(crate) image: &'a ImageConfig,
    pub(crate) sandbox: &'a Sandbox,
    /// The pod's volatile folder.
    pub(crate) pod_folder: &'a Path,
    pub(crate) root: &'a Path,
    pub(crate) user: &'a User,
    pub(crate) cgroup: &'a Path,
    /// The host name of the pod.
    pub(crate) hostname: &'a str,
    /// Files that are bound unless CRI mounts something there.
    pub(crate) files: &'a [(PathBuf, &'static str)],
    /// The PID namespace of another container, when that is asked for.
    pub(crate) target: Option<PathBuf>,
}

/// What CRI says about the security of a container.
pub(crate) fn context(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default()
}

/// Where a container's program starts.
pub(crate) fn working_folder(config: &ContainerConfig, image: &ImageConfig) -> String {
    let folder = if config.working_dir.is_empty() { &image.working_dir } else { &config.working_dir };
    if folder.is_empty() { "/".to_owned() } else { folder.clone() }
}

/// The whole configuration.
pub(crate) fn build(order: &Order<'_>) -> Result<Value> {
    let context = context(order.config);
    check(&context)?;
    let privileged = context.privileged;
    let sets = capabilities::sets(context.capabilities.as_ref(), privileged)?;
    let devices = devices::devices(&order.config.devices, privileged)?;
    let options = order.sandbox.namespaces();
    let shm = if options.ipc() == NamespaceMode::Node {
        PathBuf::from("/dev/shm")
    } else {
        order.pod_folder.join("shm")
    };
    let around = mounts::Surroundings {
        privileged,
        own_network: options.network() != NamespaceMode::Node,
        shm: &shm,
        files: order.files,
        read_only_root: context.readonly_rootfs,
        user_namespace: pod::namespace(order.pod_folder, "user").exists(),
    };
    let mounts = mounts::mounts(&order.config.mounts, around)?;
    let paths = |wanted: &[String], usual: &[&str]| -> Vec<String> {
        match (privileged, wanted) {
            (true, _) => Vec::new(),
            (false, []) => usual.iter().map(|path| (*path).to_owned()).collect(),
            (false, wanted) => wanted.to_vec(),
        }
    };
    let spec = json!({
        "ociVersion": "1.2.0",
        "root": {"path": order.root, "readonly": context.readonly_rootfs},
        "process": process(order, &context, &sets)?,
        "mounts": mounts,
        "linux": {
            "namespaces": namespaces(order, &context)?,
            "cgroupsPath": order.cgroup,
            "devices": devices.nodes,
            "resources": {"devices": devices.rules},
            "maskedPaths": paths(&context.masked_paths, &MASKED),
            "readonlyPaths": paths(&context.readonly_paths, &READ_ONLY),
            "rootfsPropagation": mounts::root_propagation(&order.config.mounts),
            "seccomp": seccomp::profile(context.seccomp.as_ref(), privileged, &sets.bounding)?,
        },
        "annotations": order.config.annotations,
    });
    // Read as what it must be, so that a mistake shows here.
    let parsed: oci_spec::runtime::Spec = serde_json::from_value(spec)
        .map_err(|error| Failure::invalid(format!("the configuration is not one of OCI: {error}")))?;
    serde_json::to_value(parsed).map_err(Failure::internal)
}

/// Refuses what this host does not do, instead of leaving it out.
fn check(context: &LinuxContainerSecurityContext) -> Result<()> {
    refuse_apparmor(context.apparmor.as_ref())
}

/// Without AppArmor in the kernel there is no default profile, and a named one cannot be kept.
pub(crate) fn refuse_apparmor(profile: Option<&SecurityProfile>) -> Result<()> {
    match profile.map(SecurityProfile::profile_type) {
        Some(ProfileType::Localhost) => Err(Failure::invalid("AppArmor is not supported on this host")),
        _ => Ok(()),
    }
}

fn process(
    order: &Order<'_>,
    context: &LinuxContainerSecurityContext,
    sets: &capabilities::Sets,
) -> Result<Value> {
    let config = order.config;
    let args: Vec<&String> = match (config.command.is_empty(), config.args.is_empty()) {
        (false, _) => config.command.iter().chain(&config.args).collect(),
        (true, false) => order.image.entrypoint.iter().chain(&config.args).collect(),
        (true, true) => order.image.entrypoint.iter().chain(&order.image.cmd).collect(),
    };
    if args.is_empty() {
        return Err(Failure::invalid("no command specified: neither the container nor its image has one"));
    }
    let oom = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()).map(|all| all.oom_score_adj);
    Ok(json!({
        "terminal": config.tty,
        "user": {"uid": order.user.uid, "gid": order.user.gid, "additionalGids": order.user.groups},
        "args": args,
        "env": environment(order),
        "cwd": working_folder(config, order.image),
        "capabilities": {
            "bounding": sets.bounding,
            "effective": sets.bounding,
            "permitted": sets.bounding,
            "inheritable": sets.ambient,
            "ambient": sets.ambient,
        },
        "noNewPrivileges": context.no_new_privs,
        "oomScoreAdj": oom,
    }))
}

/// The image's variables, then CRI's; a later one of the same name counts.
fn environment(order: &Order<'_>) -> Vec<String> {
    let mut env = vec![format!("HOSTNAME={}", order.hostname)];
    if order.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    if !order.image.env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(PATH.to_owned());
    }
    env.extend(order.image.env.iter().cloned());
    let value = |entry: &lepton_cri::v1::KeyValue| String::from_utf8_lossy(&entry.value).into_owned();
    env.extend(order.config.envs.iter().map(|entry| format!("{}={}", entry.key, value(entry))));
    env
}

fn namespaces(order: &Order<'_>, context: &LinuxContainerSecurityContext) -> Result<Vec<Value>> {
    let pinned = |kind: &str| pod::namespace(order.pod_folder, kind);
    let mut namespaces = vec![json!({"type": "mount"}), json!({"type": "cgroup"})];
    for (kind, name) in [("net", "network"), ("ipc", "ipc"), ("uts", "uts"), ("user", "user")] {
        if pinned(kind).exists() {
            namespaces.push(json!({"type": name, "path": pinned(kind)}));
        }
    }
    let mode = context
        .namespace_options
        .as_ref()
        .map_or_else(|| order.sandbox.namespaces().pid(), |options| options.pid());
    match mode {
        NamespaceMode::Container => namespaces.push(json!({"type": "pid"})),
        NamespaceMode::Node => {}
        NamespaceMode::Pod if pinned("pid").exists() => {
            namespaces.push(json!({"type": "pid", "path": pinned("pid")}));
        }
        NamespaceMode::Pod => {
            return Err(Failure::precondition(
                "the pod has no PID namespace to share: it was not made with one",
            ));
        }
        NamespaceMode::Target => match &order.target {
            Some(path) => namespaces.push(json!({"type": "pid", "path": path})),
            None => return Err(Failure::invalid("the target container does not run in this pod")),
        },
    }
    Ok(namespaces)
}
