//! Containers: made, started, stopped and removed. Each step that fails takes back those before it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lepton_cri::v1::{
    ContainerConfig, ContainerEventType, LinuxContainerResources, NamespaceMode, PodSandboxState,
};
use lepton_runtime_shim::log::MAX_BYTES;
use lepton_runtime_shim::protocol::{Create, Reply, Request};
use lepton_runtime_shim::time;

use crate::container::{self, Container, EXIT, Life, Record};
use crate::error::{Context as _, Failure, Result};
use crate::runtime::Runtime;
use crate::sandbox::Sandbox;
use crate::settings::make_private;
use crate::spec::{self, Order};
use crate::{cgroup, files, id, pods, rootfs, signals, sys, user, volumes};

/// How long processes may take to die of SIGKILL: those that wait for a disk take some time.
const DYING: Duration = Duration::from_secs(60);
/// How long a start waits for clients that were told where to attach: the program shall not write before they are there.
const ATTACHING: Duration = Duration::from_secs(10);

impl Runtime {
    /// Makes a container in a pod; gives its id.
    pub(crate) async fn create_container(&self, sandbox: &str, config: ContainerConfig) -> Result<String> {
        let sandbox = self.sandbox(sandbox)?;
        let _turn = sandbox.turn.lock().await;
        if sandbox.state() != PodSandboxState::SandboxReady {
            return Err(Failure::precondition(format!("pod sandbox {} is not ready", sandbox.id())));
        }
        if !config.cdi_devices.is_empty() {
            return Err(Failure::unimplemented("CDI devices are not supported"));
        }
        let metadata = config.metadata.clone().unwrap_or_default();
        if metadata.name.is_empty() {
            return Err(Failure::invalid("a container needs a name"));
        }
        let id = id::new();
        self.reserve(&container::name(&sandbox.id(), &metadata), &id)?;
        match self.make_container(&id, &sandbox, config).await {
            Ok(container) => {
                self.add_container(Arc::new(container));
                self.tell(&id, ContainerEventType::ContainerCreatedEvent, &sandbox);
                Ok(id)
            }
            Err(error) => {
                if let Err(left) = self.clear(&id, &sandbox.cgroup().join(&id)).await {
                    eprintln!(
                        "container {id} could not be made, and not everything of it was removed: {left}"
                    );
                }
                self.release(&id);
                Err(error)
            }
        }
    }

    async fn make_container(
        &self,
        id: &str,
        sandbox: &Sandbox,
        mut config: ContainerConfig,
    ) -> Result<Container> {
        let wanted = config.image.clone().unwrap_or_default();
        let image = self.images.get(&wanted.image)?;
        let folder = self.settings.container_run(id);
        make_private(&folder).or_cannot(format!("make {}", folder.display()))?;
        let root = folder.join("rootfs");
        let snapshot = self.images.prepare(&image.id.to_string(), id).await?;
        let user_namespace = self.user_namespace(sandbox)?;
        rootfs::mount_snapshot(&snapshot, &root, user_namespace.as_ref())?;
        let context = spec::context(&config);
        let user = user::find(&root, &context, &image.config.user)?;
        let working_folder = spec::working_folder(&config, &image.config);
        match &user_namespace {
            Some(user) => {
                let (uid, gid) = user.root();
                sys::as_owner(uid, gid, || make_folder(&root, &working_folder))?;
            }
            None => make_folder(&root, &working_folder)?,
        }
        let cgroup = sandbox.cgroup().join(id);
        let pod_folder = self.settings.pod_run(&sandbox.id());
        let mounts = self.volumes(id, &mut config.mounts, user_namespace.as_ref()).await?;
        let order = Order {
            config: &ContainerConfig { mounts, ..config.clone() },
            image: &image.config,
            sandbox,
            pod_folder: &pod_folder,
            root: &root,
            user: &user,
            cgroup: &cgroup,
            hostname: &pods::hostname(&sandbox.config),
            files: &pods::shared_files(&pod_folder),
            target: self.target(sandbox, &context).await?,
        };
        let configuration = spec::build(&order)?;
        files::write_json(&folder.join("config.json"), &configuration)
            .or_cannot("write the container's bundle")?;
        let log = Path::new(&sandbox.config.log_directory).join(&config.log_path);
        let stop = signals::of_cri(config.stop_signal());
        let stop = stop.or_else(|| signals::parse(&image.config.stop_signal)).unwrap_or(signals::TERM);
        let record = Record {
            id: id.to_owned(),
            sandbox: sandbox.id(),
            created_at: time::now_ns(),
            boot: self.boot.clone(),
            image: image.id.to_string(),
            image_ref: image.repo_digests.first().cloned().unwrap_or_else(|| image.id.to_string()),
            log: (!config.log_path.is_empty() && log.is_absolute()).then_some(log),
            cgroup,
            user,
            stop_signal: stop,
            started_at: 0,
        };
        let container = Container::new(config, record);
        container.save(&self.settings.container_state(id))?;
        Ok(container)
    }

    /// The PID namespace of the container that another one looks into.
    async fn target(
        &self,
        sandbox: &Sandbox,
        context: &lepton_cri::v1::LinuxContainerSecurityContext,
    ) -> Result<Option<PathBuf>> {
        let Some(options) = &context.namespace_options else { return Ok(None) };
        if options.pid() != NamespaceMode::Target {
            return Ok(None);
        }
        let target = self.container(&options.target_id)?.id();
        let containers = self.shim(&sandbox.id()).containers().await?;
        let found = containers.into_iter().find(|other| other.container == target && other.exit.is_none());
        Ok(found.map(|other| PathBuf::from(format!("/proc/{}/ns/pid", other.pid))))
    }

    /// Starts a container that was made.
    pub(crate) async fn start_container(&self, id: &str) -> Result<()> {
        let container = self.container(id)?;
        let _turn = container.turn.lock().await;
        let record = container.record();
        if container.life() != Life::Created {
            return Err(Failure::precondition(format!("container {} was started before", record.id)));
        }
        let sandbox = self.sandbox(&record.sandbox)?;
        if sandbox.state() != PodSandboxState::SandboxReady {
            return Err(Failure::precondition(format!("pod sandbox {} is not ready", sandbox.id())));
        }
        let config = container.config();
        cgroup::make(&record.cgroup)?;
        if let Some(resources) = config.linux.as_ref().and_then(|linux| linux.resources.as_ref()) {
            cgroup::limit(&record.cgroup, resources)?;
        }
        if let Some(folder) = record.log.as_deref().and_then(Path::parent) {
            fs::create_dir_all(folder).or_cannot(format!("make {}", folder.display()))?;
        }
        let state = self.settings.container_state(&record.id);
        let order = Create {
            container: record.id.clone(),
            bundle: self.settings.container_run(&record.id),
            log: record.log.clone(),
            log_limit: config.annotations.get(MAX_BYTES).and_then(|bytes| bytes.parse().ok()),
            stdin: config.stdin,
            stdin_once: config.stdin_once,
            tty: config.tty,
            cgroup: cgroup::folder(&record.cgroup),
            exit: state.join(EXIT),
        };
        let shim = self.shim(&record.sandbox);
        if let Err(error) = shim.call(&Request::Create(order)).await.and_then(expect_running) {
            // The maker's state would be in the way of another try.
            let _ = files::remove_folder(&self.settings.oci_state().join(&record.id));
            return Err(error);
        }
        container.open(ATTACHING).await;
        container.change(|record| record.started_at = time::now_ns());
        container.save(&state)?;
        // Before it can end, so that its end is not overtaken.
        container.set_life(Life::Running);
        if let Err(error) = shim.call(&Request::Start { container: record.id.clone() }).await {
            let _ = shim.call(&Request::Kill { container: record.id.clone() }).await;
            return Err(error);
        }
        self.tell(&record.id, ContainerEventType::ContainerStartedEvent, &sandbox);
        Ok(())
    }

    /// Asks a container to end, and makes it end after a time. One that does not run or is not there is fine.
    pub(crate) async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        let container = match self.container(id) {
            Ok(container) => container,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        if container.life() == Life::Running && !timeout.is_zero() {
            let record = container.record();
            let request = Request::Signal { container: record.id.clone(), signal: record.stop_signal };
            self.shim(&record.sandbox).call(&request).await?;
            // Out of time is no failure: it is killed.
            let _ = tokio::time::timeout(timeout, container.ended()).await;
        }
        self.kill_container(&container).await
    }

    /// Kills everything in a container, and waits for its end.
    pub(crate) async fn kill_container(&self, container: &Container) -> Result<()> {
        if container.life() != Life::Running {
            return Ok(());
        }
        let record = container.record();
        let request = Request::Kill { container: record.id.clone() };
        if self.shim(&record.sandbox).call(&request).await.is_err() {
            // Without its shim nobody sees how it ends.
            cgroup::remove(&record.cgroup).await?;
            self.ended(&record.id, None, Some("its shim was gone".to_owned()));
        }
        let ended = tokio::time::timeout(DYING, container.ended()).await;
        ended.map_err(|_| Failure::deadline(format!("container {} does not die", record.id)))
    }

    /// Removes a container, running or not; one that is not there is fine.
    pub(crate) async fn remove_container(&self, id: &str) -> Result<()> {
        let container = match self.container(id) {
            Ok(container) => container,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error),
        };
        let _turn = container.turn.lock().await;
        let record = container.record();
        // While it dies, the host's side of its mounts goes: the kernel makes both wait.
        let folder = self.settings.container_run(&record.id);
        let unmounted = tokio::task::spawn_blocking(move || rootfs::unmount_below(&folder));
        self.kill_container(&container).await?;
        unmounted.await.or_cannot("unmount its file systems")??;
        let shim = self.shim(&record.sandbox);
        let forget = Request::Remove { container: record.id.clone() };
        let (_, cleared) = tokio::join!(shim.call(&forget), self.clear(&record.id, &record.cgroup));
        cleared?;
        self.forget_container(&record.id);
        if let Ok(sandbox) = self.sandbox(&record.sandbox) {
            self.tell(&record.id, ContainerEventType::ContainerDeletedEvent, &sandbox);
        }
        Ok(())
    }

    /// Removes all that is left of a container, in whatever state it is.
    pub(crate) async fn clear(&self, id: &str, cgroup: &Path) -> Result<()> {
        cgroup::remove(cgroup).await?;
        let folder = self.settings.container_run(id);
        rootfs::unmount_below(&folder)?;
        files::remove_folder(&folder).or_cannot(format!("remove {}", folder.display()))?;
        files::remove_folder(&self.settings.oci_state().join(id))
            .or_cannot("remove the container maker's state")?;
        for key in self.images.snapshots().iter().filter(|key| volumes::owner(key) == id) {
            self.images.remove_snapshot(key).await?;
        }
        let state = self.settings.container_state(id);
        files::remove_folder(&state).or_cannot(format!("remove {}", state.display()))
    }

    /// Changes what a container may use.
    pub(crate) async fn update_container(&self, id: &str, wanted: LinuxContainerResources) -> Result<()> {
        let container = self.container(id)?;
        let _turn = container.turn.lock().await;
        let record = container.record();
        if container.life() == Life::Running {
            cgroup::limit(&record.cgroup, &wanted)?;
        }
        container.change_config(|config| {
            let linux = config.linux.get_or_insert_default();
            merge(linux.resources.get_or_insert_default(), wanted);
        });
        container.save(&self.settings.container_state(&record.id))
    }

    /// Opens a container's log again.
    pub(crate) async fn reopen_log(&self, id: &str) -> Result<()> {
        let container = self.container(id)?;
        if container.life() != Life::Running {
            return Err(Failure::precondition(format!("container {id} does not run")));
        }
        let record = container.record();
        self.shim(&record.sandbox).call(&Request::ReopenLog { container: record.id }).await.map(drop)
    }
}

fn expect_running(reply: Reply) -> Result<()> {
    match reply {
        Reply::Running { .. } => Ok(()),
        other => Err(Failure::internal(format!("the shim answered {other:?}"))),
    }
}

/// What is named replaces what was; the rest stays.
fn merge(resources: &mut LinuxContainerResources, wanted: LinuxContainerResources) {
    let number = |old: &mut i64, new: i64| {
        if new != 0 {
            *old = new;
        }
    };
    number(&mut resources.cpu_period, wanted.cpu_period);
    number(&mut resources.cpu_quota, wanted.cpu_quota);
    number(&mut resources.cpu_shares, wanted.cpu_shares);
    number(&mut resources.memory_limit_in_bytes, wanted.memory_limit_in_bytes);
    number(&mut resources.oom_score_adj, wanted.oom_score_adj);
    number(&mut resources.memory_swap_limit_in_bytes, wanted.memory_swap_limit_in_bytes);
    for (old, new) in
        [(&mut resources.cpuset_cpus, wanted.cpuset_cpus), (&mut resources.cpuset_mems, wanted.cpuset_mems)]
    {
        if !new.is_empty() {
            *old = new;
        }
    }
    if !wanted.hugepage_limits.is_empty() {
        resources.hugepage_limits = wanted.hugepage_limits;
    }
    resources.unified.extend(wanted.unified);
}

/// Makes a folder in a root file system, without leaving it through links.
fn make_folder(root: &Path, path: &str) -> Result<()> {
    use lepton_runtime_images::within;
    use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat};
    let what = || format!("make the working folder {path}");
    let inside = ResolveFlags::IN_ROOT;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = fs::File::open(root).or_cannot(what())?;
    let mut at = String::from(".");
    for part in path.split('/').filter(|part| !part.is_empty() && *part != ".") {
        let parent = within::open(&top, at.as_str(), flags, inside).or_cannot(what())?;
        if part != ".." {
            match mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error).or_cannot(what()),
            }
        }
        at = format!("{at}/{part}");
    }
    within::open(&top, at.as_str(), flags, inside).or_cannot(what()).map(drop)
}
