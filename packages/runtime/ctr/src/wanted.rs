//! What CRI is asked for: a pod with one container. Pure.

use lepton_cri::v1 as cri;
use lepton_service_spec::endpoint::Protocol;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::run_options::{Mode, RunOptions};

/// Says whose a pod is; kubelet's have no such label.
pub(crate) const NAME: &str = "lepton.ctr/name";
/// `run` or `service`.
pub(crate) const KIND: &str = "lepton.ctr/kind";
/// What the machine config's containers have as kind.
pub(crate) const SERVICE: &str = "service";
/// Ports of the host, as they are written.
pub(crate) const PORTS: &str = "lepton.ctr/ports";
/// Seconds between the stop signal and SIGKILL.
pub(crate) const STOP: &str = "lepton.ctr/stop-seconds";
/// Digest of everything that was asked for.
pub(crate) const DIGEST: &str = "lepton.ctr/digest";

/// The log's name in its folder.
pub(crate) const LOG: &str = "log";
/// Bytes after which a container's log is moved aside; the shim keeps four.
const LOG_BYTES: u64 = 4 << 20;
/// The kernel's usual period of `cpu.max`, in microseconds.
const PERIOD: i64 = 100_000;

/// A pod and its container.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) pod: cri::PodSandboxConfig,
    pub(crate) container: cri::ContainerConfig,
}

impl Wanted {
    /// What the options ask for; `folder` is where the log goes.
    pub(crate) fn new(name: &str, options: &RunOptions, folder: &std::path::Path) -> Self {
        let kind = if options.mode == Mode::Service { SERVICE } else { "run" };
        let labels = [(NAME.to_owned(), name.to_owned()), (KIND.to_owned(), kind.to_owned())];
        let mut annotations = std::collections::BTreeMap::new();
        annotations.insert(STOP.to_owned(), options.stop_seconds.to_string());
        if !options.ports.is_empty() {
            let ports: Vec<String> = options.ports.iter().map(ToString::to_string).collect();
            annotations.insert(PORTS.to_owned(), ports.join(" "));
        }
        let namespaces = cri::NamespaceOption {
            network: mode(options.host_network).into(),
            pid: cri::NamespaceMode::Container.into(),
            ..cri::NamespaceOption::default()
        };
        let pod = cri::PodSandboxConfig {
            // One of a name, whoever made it: the runtime refuses a second one.
            metadata: Some(cri::PodSandboxMetadata {
                name: name.to_owned(),
                uid: name.to_owned(),
                namespace: "lepton".to_owned(),
                attempt: 0,
            }),
            hostname: if options.host_network { String::new() } else { name.to_owned() },
            log_directory: folder.display().to_string(),
            port_mappings: options.ports.iter().map(port).collect(),
            labels: labels.clone().into(),
            annotations: annotations.clone(),
            linux: Some(cri::LinuxPodSandboxConfig {
                security_context: Some(cri::LinuxSandboxSecurityContext {
                    namespace_options: Some(namespaces.clone()),
                    privileged: options.privileged,
                    ..cri::LinuxSandboxSecurityContext::default()
                }),
                ..cri::LinuxPodSandboxConfig::default()
            }),
            ..cri::PodSandboxConfig::default()
        };
        annotations.insert(lepton_runtime_shim::log::MAX_BYTES.to_owned(), LOG_BYTES.to_string());
        let mut wanted = Self { name: name.to_owned(), pod, container: container(name, options, namespaces) };
        wanted.container.labels = labels.into();
        wanted.container.annotations = annotations;
        let digest = wanted.digest();
        wanted.pod.annotations.insert(DIGEST.to_owned(), digest);
        wanted
    }

    /// Changes when anything that was asked for does.
    fn digest(&self) -> String {
        let hash =
            Sha256::new().chain_update(self.pod.encode_to_vec()).chain_update(self.container.encode_to_vec());
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn mode(host: bool) -> cri::NamespaceMode {
    if host { cri::NamespaceMode::Node } else { cri::NamespaceMode::Pod }
}

fn port(port: &lepton_service_spec::endpoint::Port) -> cri::PortMapping {
    let protocol = match port.protocol {
        Protocol::Tcp => cri::Protocol::Tcp,
        Protocol::Udp => cri::Protocol::Udp,
        Protocol::Sctp => cri::Protocol::Sctp,
    };
    cri::PortMapping {
        protocol: protocol.into(),
        container_port: i32::from(port.container),
        host_port: i32::from(port.host),
        host_ip: port.address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

fn container(name: &str, options: &RunOptions, namespaces: cri::NamespaceOption) -> cri::ContainerConfig {
    let number = |value: u32| cri::Int64Value { value: i64::from(value) };
    let user = options.user.as_ref();
    let context = cri::LinuxContainerSecurityContext {
        capabilities: Some(cri::Capability {
            add_capabilities: options.capabilities.clone(),
            ..cri::Capability::default()
        }),
        privileged: options.privileged,
        namespace_options: Some(namespaces),
        run_as_user: user.and_then(|user| user.number()).map(number),
        run_as_username: user
            .filter(|user| user.number().is_none())
            .map(|user| user.user.clone())
            .unwrap_or_default(),
        run_as_group: user.and_then(|user| user.group).map(number),
        readonly_rootfs: options.read_only,
        // The runtime's own list of system calls.
        seccomp: Some(cri::SecurityProfile::default()),
        ..cri::LinuxContainerSecurityContext::default()
    };
    let memory = options.memory.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let pids = options.pids.iter().map(|count| ("pids.max".to_owned(), count.to_string()));
    let resources = cri::LinuxContainerResources {
        memory_limit_in_bytes: memory,
        cpu_period: options.cpus.map_or(0, |_| PERIOD),
        cpu_quota: options.cpus.map_or(0, |count| i64::from(count) * PERIOD / 1000),
        unified: pids.collect(),
        ..cri::LinuxContainerResources::default()
    };
    let mount = |mount: &lepton_service_spec::endpoint::Bind| cri::Mount {
        host_path: mount.host.clone(),
        container_path: mount.container.clone(),
        readonly: mount.read_only,
        ..cri::Mount::default()
    };
    let variable = |(name, value): &(String, String)| cri::KeyValue {
        key: name.clone(),
        value: value.clone().into_bytes(),
    };
    cri::ContainerConfig {
        metadata: Some(cri::ContainerMetadata { name: name.to_owned(), attempt: 0 }),
        image: Some(cri::ImageSpec { image: options.image.clone(), ..cri::ImageSpec::default() }),
        command: options.command.clone(),
        args: options.arguments.clone(),
        working_dir: options.folder.clone().unwrap_or_default(),
        envs: options.environment.iter().map(variable).collect(),
        mounts: options.mounts.iter().map(mount).collect(),
        log_path: LOG.to_owned(),
        stdin: options.choice.stdin,
        // Its input ends with the caller's.
        stdin_once: options.choice.stdin,
        tty: options.choice.tty,
        linux: Some(cri::LinuxContainerConfig {
            resources: Some(resources),
            security_context: Some(context),
        }),
        ..cri::ContainerConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_asked_for_counts() {
        let folder = std::path::Path::new("/logs/web");
        let digest =
            |options: &RunOptions| Wanted::new("web", options, folder).pod.annotations[DIGEST].clone();
        let mut options = RunOptions::new("a/b:1");
        options.mode = Mode::Service;
        let first = digest(&options);
        assert_eq!(first, digest(&options.clone()));
        for change in [
            (|run| run.ports.push("1:2".parse().unwrap())) as fn(&mut RunOptions),
            |run| run.memory = Some(1 << 20),
            |run| run.stop_seconds = 3,
            |run| run.environment.push(("A".into(), "b".into())),
            |run| run.image = "a/b:2".into(),
            |run| run.host_network = true,
        ] {
            let mut other = options.clone();
            change(&mut other);
            assert_ne!(digest(&other), first, "{other:?}");
        }
    }

    #[test]
    fn users_and_limits() {
        let mut options = RunOptions::new("a/b:1");
        options.user = Some("5:6".parse().unwrap());
        options.cpus = Some(1500);
        options.memory = Some(64 << 20);
        let linux = Wanted::new("web", &options, std::path::Path::new("/l")).container.linux.unwrap();
        let (context, resources) = (linux.security_context.unwrap(), linux.resources.unwrap());
        assert_eq!((context.run_as_user.unwrap().value, context.run_as_group.unwrap().value), (5, 6));
        assert_eq!((resources.cpu_quota, resources.cpu_period), (150_000, 100_000));
        assert_eq!(resources.memory_limit_in_bytes, 64 << 20);
        options.user = Some("web".parse().unwrap());
        let context = container("web", &options, cri::NamespaceOption::default())
            .linux
            .unwrap()
            .security_context
            .unwrap();
        assert_eq!((context.run_as_user, context.run_as_username.as_str()), (None, "web"));
    }
}
