//! Pod sandboxes: made, stopped and removed. Each step that fails takes back those before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lepton_cri::v1::{ContainerEventType, NamespaceMode, PodSandboxConfig};
use lepton_runtime_shim::pod::{self, Pod};
use lepton_runtime_shim::time;
use rustix::mount::{UnmountFlags, unmount};

use crate::cni;
use crate::error::{Context as _, Failure, Result, chain};
use crate::runtime::Runtime;
use crate::sandbox::{self, Attachment, Record, Sandbox, has_host_network};
use crate::settings::make_private;
use crate::user_namespace::{self, UserNamespace};
use crate::{cgroup, files, id, rootfs, shim};

/// The cgroup of all shims: not below the runtime's, which ends with it.
const SHIMS: &str = "/runtime-shims";

impl Runtime {
    /// Makes a pod sandbox; gives its id.
    pub(crate) async fn run_pod(self: &Arc<Self>, config: PodSandboxConfig, handler: &str) -> Result<String> {
        if !handler.is_empty() {
            return Err(Failure::invalid(format!(
                "no runtime handler {handler:?}; there is only the default one"
            )));
        }
        check(&config)?;
        let name = sandbox::name(&config.metadata.clone().unwrap_or_default())?;
        let id = id::new();
        self.reserve(&name, &id)?;
        let record = Record {
            id: id.clone(),
            created_at: time::now_ns(),
            boot: self.boot.clone(),
            handler: handler.to_owned(),
            ..Record::default()
        };
        let sandbox = Arc::new(Sandbox::new(config, record));
        let made = self.make_pod(&id, &sandbox).await;
        if let Err(error) = made {
            match self.take_apart(&id, &sandbox).await {
                Ok(()) => self.forget_sandbox(&id),
                Err(left) => {
                    eprintln!("pod {id} could not be made, and not everything of it was removed: {left}");
                    self.keep_remains(&sandbox);
                }
            }
            return Err(error);
        }
        Ok(id)
    }

    /// Shows what is left of a pod as one that is not ready, so that whoever asked for it can ask for its removal.
    pub(crate) fn keep_remains(&self, sandbox: &Arc<Sandbox>) {
        sandbox.change(|record| {
            record.stopped = true;
            record.complete = true;
        });
        // Without it a restart of the runtime takes the rest apart.
        let _ = sandbox.save(&self.settings.pod_state(&sandbox.id()));
        self.add_sandbox(Arc::clone(sandbox));
    }

    async fn make_pod(self: &Arc<Self>, id: &str, sandbox: &Arc<Sandbox>) -> Result<()> {
        let config = &sandbox.config;
        let state = self.settings.pod_state(id);
        // From here on a runtime that is killed knows what to take apart.
        sandbox.save(&state)?;
        let folder = self.settings.pod_run(id);
        make_private(&folder).or_cannot(format!("make {}", folder.display()))?;
        if !config.log_directory.is_empty() {
            fs::create_dir_all(&config.log_directory).or_cannot(format!("make {}", config.log_directory))?;
        }
        cgroup::make(Path::new(SHIMS))?;
        let pod = self.describe(id, config)?;
        let shims = cgroup::folder(Path::new(SHIMS));
        shim::start(&self.settings.shim, &folder, &pod, &shims).await?;
        let options = sandbox.namespaces();
        if options.ipc() != NamespaceMode::Node {
            rootfs::mount_shm(&folder.join("shm"), self.user_namespace(sandbox)?.as_ref())?;
        }
        if options.network() != NamespaceMode::Node {
            self.connect(id, sandbox).await?;
        }
        write_files(&folder, config, &sandbox.record().addresses)?;
        if let Some(user) = self.user_namespace(sandbox)? {
            let (uid, gid) = user.root();
            for (path, _) in shared_files(&folder) {
                std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                    .or_cannot(format!("give {} to the pod", path.display()))?;
            }
        }
        cgroup::make(&sandbox.cgroup())?;
        sandbox.change(|record| record.complete = true);
        sandbox.save(&state)?;
        self.add_sandbox(Arc::clone(sandbox));
        self.listen(id).await?;
        self.tell(id, ContainerEventType::ContainerCreatedEvent, sandbox);
        self.tell(id, ContainerEventType::ContainerStartedEvent, sandbox);
        Ok(())
    }

    /// The user namespace of a pod that has one of its own.
    pub(crate) fn user_namespace(&self, sandbox: &Sandbox) -> Result<Option<UserNamespace>> {
        let maps = user_namespace::maps(&sandbox.config)?;
        Ok(maps.map(|maps| UserNamespace { path: self.namespace(&sandbox.id(), "user"), maps }))
    }

    /// What the shim is told.
    fn describe(&self, id: &str, config: &PodSandboxConfig) -> Result<Pod> {
        let options = sandbox::namespaces(config);
        let own = |mode: NamespaceMode| mode != NamespaceMode::Node;
        Ok(Pod {
            id: id.to_owned(),
            // The host's network goes with the host's name.
            hostname: own(options.network()).then(|| hostname(config)),
            network: own(options.network()),
            ipc: own(options.ipc()),
            pid: options.pid() == NamespaceMode::Pod,
            user: user_namespace::maps(config)?,
            sysctls: config.linux.as_ref().map(|linux| linux.sysctls.clone()).unwrap_or_default(),
            oci: self.settings.oci.clone(),
            oci_state: self.settings.oci_state(),
        })
    }

    /// Adds a pod to the network.
    async fn connect(&self, id: &str, sandbox: &Sandbox) -> Result<()> {
        let pod = cni::Pod { id, namespace: Some(self.namespace(id, "net")), config: &sandbox.config };
        let unusable = |error: cni::CniError| Failure::internal(chain(&error));
        // Written down before, so that a runtime that is killed meanwhile can take it away again.
        let list = cni::List::first(&self.settings.cni_config).map_err(unusable)?;
        let pending = Attachment { list: list.json(), result: serde_json::Value::Null };
        sandbox.change(|record| record.network = Some(pending));
        sandbox.save(&self.settings.pod_state(id))?;
        let attachment = self.cni.add(&pod).await.map_err(unusable)?;
        sandbox.change(|record| {
            record.addresses = cni::addresses(&attachment.result);
            record.network = Some(attachment);
        });
        sandbox.save(&self.settings.pod_state(id))
    }

    /// Ends everything that runs in a pod, and gives back its network; stopping twice is fine.
    pub(crate) async fn stop_pod(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let _turn = sandbox.turn.lock().await;
        let id = sandbox.id();
        if sandbox.record().stopped {
            return Ok(());
        }
        for container in self.containers_of(&id) {
            self.kill_container(&container).await?;
        }
        self.disconnect(&id, &sandbox).await?;
        // Before the shim ends, so that its end is no surprise.
        sandbox.change(|record| record.stopped = true);
        self.shim(&id).end().await?;
        self.unpin(&id)?;
        sandbox.save(&self.settings.pod_state(&id))?;
        self.tell(&id, ContainerEventType::ContainerStoppedEvent, &sandbox);
        Ok(())
    }

    async fn disconnect(&self, id: &str, sandbox: &Sandbox) -> Result<()> {
        let Some(attachment) = sandbox.record().network else { return Ok(()) };
        let namespace = Some(self.namespace(id, "net")).filter(|path| is_mounted(path));
        let pod = cni::Pod { id, namespace, config: &sandbox.config };
        self.cni.remove(&pod, &attachment).await.map_err(|error| Failure::internal(chain(&error)))?;
        sandbox.change(|record| record.network = None);
        Ok(())
    }

    /// Takes away what is mounted for a pod.
    fn unpin(&self, id: &str) -> Result<()> {
        let folder = self.settings.pod_run(id);
        rootfs::unmount_below(&folder)?;
        for name in files::names(&folder.join(pod::NAMESPACES)) {
            let path = folder.join(pod::NAMESPACES).join(name);
            let _ = unmount(&path, UnmountFlags::DETACH);
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Removes a pod with everything in it; one that is not there is fine.
    pub(crate) async fn remove_pod(self: &Arc<Self>, id: &str) -> Result<()> {
        let sandbox = match self.sandbox(id) {
            Ok(sandbox) => sandbox,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let id = sandbox.id();
        self.stop_pod(&id).await?;
        for container in self.containers_of(&id) {
            self.remove_container(&container.id()).await?;
        }
        let _turn = sandbox.turn.lock().await;
        self.take_apart(&id, &sandbox).await?;
        self.forget_sandbox(&id);
        self.tell(&id, ContainerEventType::ContainerDeletedEvent, &sandbox);
        Ok(())
    }

    /// Removes all that is left of a pod, in whatever state it is. A network plugin that fails keeps nothing alive but the
    /// record of what it must still take away.
    pub(crate) async fn take_apart(&self, id: &str, sandbox: &Sandbox) -> Result<()> {
        let disconnected = self.disconnect(id, sandbox).await;
        sandbox.change(|record| record.stopped = true);
        self.shim(id).end().await?;
        self.unpin(id)?;
        if sandbox.cgroup().starts_with(sandbox::OWN_CGROUP) {
            cgroup::remove(&sandbox.cgroup()).await?;
        }
        disconnected?;
        let folder = self.settings.pod_run(id);
        files::remove_folder(&folder).or_cannot(format!("remove {}", folder.display()))?;
        let state = self.settings.pod_state(id);
        files::remove_folder(&state).or_cannot(format!("remove {}", state.display()))
    }
}

/// Refuses what this host does not do, instead of leaving it out.
fn check(config: &PodSandboxConfig) -> Result<()> {
    let context = config.linux.as_ref().and_then(|linux| linux.security_context.clone()).unwrap_or_default();
    crate::spec::refuse_apparmor(context.apparmor.as_ref())?;
    let options = context.namespace_options.unwrap_or_default();
    user_namespace::maps(config)?;
    let bad = [("network", options.network()), ("ipc", options.ipc())]
        .into_iter()
        .find(|(_, mode)| !matches!(mode, NamespaceMode::Pod | NamespaceMode::Node));
    if let Some((kind, mode)) = bad {
        return Err(Failure::invalid(format!(
            "{kind} namespace mode {} is none of a pod",
            mode.as_str_name()
        )));
    }
    if has_host_network(config)
        && !config
            .port_mappings
            .iter()
            .all(|mapping| mapping.host_port == 0 || mapping.host_port == mapping.container_port)
    {
        return Err(Failure::invalid("port mappings of a pod in the host's network change no port"));
    }
    Ok(())
}

/// The host name of a pod.
pub(crate) fn hostname(config: &PodSandboxConfig) -> String {
    if config.hostname.is_empty() {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    } else {
        config.hostname.clone()
    }
}

/// The files that every container of a pod sees.
pub(crate) fn shared_files(folder: &Path) -> Vec<(PathBuf, &'static str)> {
    [("hosts", "/etc/hosts"), ("hostname", "/etc/hostname"), ("resolv.conf", "/etc/resolv.conf")]
        .into_iter()
        .map(|(name, target)| (folder.join(name), target))
        .filter(|(path, _)| path.exists())
        .collect()
}

fn write_files(folder: &Path, config: &PodSandboxConfig, addresses: &[String]) -> Result<()> {
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).or_cannot(format!("write {name} of a pod"))
    };
    let name = hostname(config);
    write("hostname", format!("{name}\n"))?;
    if has_host_network(config) {
        for file in ["hosts", "resolv.conf"] {
            let text = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
            write(file, text)?;
        }
    } else {
        let own: String = addresses.iter().map(|address| format!("{address}\t{name}\n")).collect();
        write("hosts", format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{own}"))?;
    }
    match &config.dns_config {
        Some(dns) => {
            let mut text: String =
                dns.servers.iter().map(|server| format!("nameserver {server}\n")).collect();
            for (word, values) in [("search", &dns.searches), ("options", &dns.options)] {
                if !values.is_empty() {
                    text.push_str(&format!("{word} {}\n", values.join(" ")));
                }
            }
            write("resolv.conf", text)
        }
        None if has_host_network(config) => Ok(()),
        None => write("resolv.conf", fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
    }
}

/// Whether a namespace is pinned there: after a restart of the host only the empty file may be left.
fn is_mounted(path: &Path) -> bool {
    /// `NSFS_MAGIC`
    const NSFS: i64 = 0x6e73_6673;
    rustix::fs::statfs(path).is_ok_and(|data| data.f_type == NSFS)
}
