//! The first process of a container, with one clone(2): it comes into being within its cgroup and its PID namespace, as
//! a child of the shim. libcontainer's own builder needs two processes for that, and moves one of them to the cgroup: a
//! move makes the kernel wait until no processor forks any more (10 ms and longer), being made there does not.
//!
//! Everything that the first process does is libcontainer's. What this does not do is told by [`suits`].

use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use libcgroups::common::CgroupConfig;
use libcontainer::config::YoukiConfig;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use libcontainer::notify_socket::{NOTIFY_FILE, NotifyListener};
use libcontainer::process::args::{ContainerArgs, ContainerType};
use libcontainer::process::channel::{ChannelError, init_channel, main_channel};
use libcontainer::process::init::container_init_process;
use libcontainer::syscall::syscall::SyscallType;
use libcontainer::tty::setup_console_socket;
use libcontainer::utils::validate_mount_options;
use libcontainer::validator::Validator;
use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};

use crate::Arguments;
use crate::devices::DeviceError;
use crate::executor::Program;
use crate::make::innermost;
use crate::sys;

/// There is no first process.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FirstError {
    #[error("cannot {what}")]
    Step { what: String, source: std::io::Error },
    #[error("{}", innermost(.0))]
    Libcontainer(LibcontainerError),
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("cannot control its devices")]
    Devices(#[from] DeviceError),
}

fn refused(error: impl Into<LibcontainerError>) -> FirstError {
    FirstError::Libcontainer(error.into())
}

/// To say what went wrong.
fn step(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> FirstError {
    |source| FirstError::Step { what: what.into(), source }
}

/// Whether a container is one for this: a user namespace is entered before the PID namespace that it owns, and hooks,
/// limits and devices of a network need somebody outside; libcontainer's builder does all that.
pub(crate) fn suits(spec: &Spec) -> bool {
    let Some(linux) = spec.linux() else { return false };
    let namespaces = linux.namespaces().as_deref().unwrap_or_default();
    let simple = |kind| kind != LinuxNamespaceType::User && kind != LinuxNamespaceType::Time;
    namespaces.iter().all(|namespace| simple(namespace.typ()))
        && linux.cgroups_path().is_some()
        && linux.net_devices().is_none()
        && linux.intel_rdt().is_none()
        && spec.hooks().is_none()
        && spec.process().as_ref().is_some_and(|process| process.rlimits().is_none())
}

/// Makes it; it waits until it is started. `spec` is the lowered one of `bundle`; `meanwhile` is done while it gets ready.
pub(crate) fn make(
    arguments: &Arguments,
    spec: Spec,
    bundle: &Path,
    program: Program,
    meanwhile: impl FnOnce() -> Result<(), DeviceError>,
) -> Result<i32, FirstError> {
    Validator::validate_spec(&spec).map_err(refused)?;
    validate_mount_options(spec.mounts().as_deref().unwrap_or_default()).map_err(refused)?;
    let folder = arguments.root.join(&arguments.id);
    if folder.exists() {
        return Err(refused(LibcontainerError::Exist));
    }
    fs::create_dir_all(&folder).map_err(step(format!("make {}", folder.display())))?;
    let made = clone(arguments, spec, bundle, &folder, program, meanwhile);
    if made.is_err() {
        // It would be in the way of another try.
        let _ = fs::remove_dir_all(&folder);
    }
    made
}

fn clone(
    arguments: &Arguments,
    spec: Spec,
    bundle: &Path,
    folder: &Path,
    program: Program,
    meanwhile: impl FnOnce() -> Result<(), DeviceError>,
) -> Result<i32, FirstError> {
    let mut container =
        Container::new(&arguments.id, ContainerStatus::Creating, None, bundle, folder).map_err(refused)?;
    container.set_systemd(false).set_annotations(spec.annotations().clone());
    // What `exec` reads of it later.
    let config = YoukiConfig::from_spec(&spec, &arguments.id).map_err(refused)?;
    config.save(folder).map_err(refused)?;
    let console = arguments.console.as_ref();
    let console = console.map(|path| setup_console_socket(folder, path, "console-socket"));
    let console: Option<OwnedFd> = console.transpose().map_err(refused)?;
    let listener = NotifyListener::new(&folder.join(NOTIFY_FILE)).map_err(refused)?;
    if let Some(score) = spec.process().as_ref().and_then(Process::oom_score_adj) {
        // Inherited. It must be before the next step, which closes the file to all but the host's root.
        fs::write("/proc/self/oom_score_adj", score.to_string()).map_err(step("set the OOM score"))?;
    }
    nix::sys::prctl::set_dumpable(false)
        .map_err(|error| step("keep others in joined namespaces out")(error.into()))?;
    let cgroup = cgroup(&spec);
    let cgroup = File::open(&cgroup).map_err(step(format!("open the cgroup {}", cgroup.display())))?;
    let namespace = pid_namespace(&spec);
    if let Some(Some(path)) = &namespace {
        sys::enter_pid_namespace(path).map_err(step(format!("enter {}", path.display())))?;
    }
    let root = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let args = ContainerArgs {
        container_type: ContainerType::InitContainer,
        syscall: SyscallType::default(),
        rootfs: fs::canonicalize(&root).map_err(step(format!("find {}", root.display())))?,
        console_socket: console.as_ref().map(|console| console.as_raw_fd()),
        notify_listener: listener,
        preserve_fds: 0,
        container: Some(container.clone()),
        user_ns_config: None,
        cgroup_config: CgroupConfig {
            cgroup_path: config.cgroup_path,
            systemd_cgroup: false,
            container_name: arguments.id.clone(),
        },
        detached: true,
        executor: Box::new(program),
        no_pivot: false,
        stdin: None,
        stdout: None,
        stderr: None,
        as_sibling: true,
        pid_file: None,
        spec: Rc::new(spec),
    };
    let (mut to_main, mut from_first) = main_channel()?;
    let (to_first, mut from_main) = init_channel()?;
    let first = || {
        let _ = to_first.close();
        match container_init_process(&args, &mut to_main, &mut from_main) {
            Ok(()) => 0,
            Err(error) => {
                let _ = to_main.exec_failed(error.to_string());
                1
            }
        }
    };
    let pid = sys::clone_sibling(&cgroup, namespace == Some(None), first)
        .map_err(step("make the first process"))?;
    to_main.close()?;
    // A first process that is made and not wanted is the shim's to kill, with everything in the cgroup.
    meanwhile()?;
    from_first.wait_for_init_ready()?;
    container.set_status(ContainerStatus::Created).set_creator(0).set_pid(pid).save().map_err(refused)?;
    Ok(pid)
}

/// The folder of the container's cgroup.
pub(crate) fn cgroup(spec: &Spec) -> PathBuf {
    let path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().clone()).unwrap_or_default();
    Path::new("/sys/fs/cgroup").join(path.strip_prefix("/").unwrap_or(&path))
}

/// Its PID namespace: the host's, one of its own, or one that is joined.
#[expect(clippy::option_option, reason = "none, a new one, and a pinned one")]
fn pid_namespace(spec: &Spec) -> Option<Option<PathBuf>> {
    let linux = spec.linux().as_ref()?;
    let mut namespaces = linux.namespaces().iter().flatten();
    let pid = namespaces.find(|namespace| namespace.typ() == LinuxNamespaceType::Pid)?;
    Some(pid.path().clone())
}
