//! Makes a container or a process in one, with libcontainer.

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::container::{Container, ContainerStatus};
use libcontainer::error::LibcontainerError;
use libcontainer::syscall::syscall::SyscallType;
use oci_spec::runtime::Spec;

use crate::Arguments;
use crate::bundle::{self, BundleError};
use crate::devices::{self, DeviceError};
use crate::executor::Program;
use crate::first::{self, FirstError};
use crate::seccomp::SeccompError;

/// Nothing was made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MakeError {
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    #[error("{}", innermost(.0))]
    Libcontainer(LibcontainerError),
    #[error(transparent)]
    First(#[from] FirstError),
    #[error("cannot control its devices")]
    Devices(#[from] DeviceError),
    #[error("it has no process")]
    NoProcess,
}

impl From<LibcontainerError> for MakeError {
    fn from(error: LibcontainerError) -> Self {
        Self::Libcontainer(error)
    }
}

/// The cause: what libcontainer says around it names its own steps.
pub(crate) fn innermost(error: &LibcontainerError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string().trim_end_matches('\0').to_owned()
}

/// Makes a container that waits to be started; gives the process id of its first process.
pub(crate) fn create(arguments: &Arguments) -> Result<i32, MakeError> {
    let spec = bundle::read(&arguments.bundle)?;
    let process = spec.process().clone().ok_or(MakeError::NoProcess)?;
    let program = Program::new(&spec, process)?;
    let (folder, lowered) = bundle::write_lowered(&arguments.bundle, &spec)?;
    if first::suits(&lowered) {
        return Ok(first::make(arguments, lowered, &folder, program, || control_devices(&spec))?);
    }
    let mut container =
        builder(arguments, program)?.as_init(folder).with_systemd(false).with_detach(true).build()?;
    let controlled = control_devices(&spec);
    let pid = container.pid().ok_or(MakeError::NoProcess)?.as_raw();
    if let Err(error) = controlled {
        let _ = container.delete(true);
        return Err(error.into());
    }
    Ok(pid)
}

fn control_devices(spec: &Spec) -> Result<(), DeviceError> {
    let Some(linux) = spec.linux() else { return Ok(()) };
    let rules = linux.resources().as_ref().and_then(|resources| resources.devices().as_ref());
    match (rules, linux.cgroups_path()) {
        (Some(rules), Some(_)) => devices::control(&first::cgroup(spec), rules),
        _ => Ok(()),
    }
}

/// Runs one more process in a container; gives its process id.
pub(crate) fn exec(arguments: &Arguments) -> Result<i32, MakeError> {
    let spec = bundle::read(&arguments.bundle)?;
    let process = bundle::read_process(&arguments.process)?;
    let program = Program::new(&spec, process.clone())?;
    let lowered = bundle::write_lowered_process(&arguments.process, &process, &spec)?;
    // It was started by the shim, which keeps no books for libcontainer.
    let mut container = Container::load(arguments.root.join(&arguments.id))?;
    if container.status() == ContainerStatus::Created {
        container.set_status(ContainerStatus::Running).save()?;
    }
    let pid =
        builder(arguments, program)?.as_tenant().with_process(Some(lowered)).with_detach(true).build()?;
    Ok(pid.as_raw())
}

fn builder(arguments: &Arguments, program: Program) -> Result<ContainerBuilder, LibcontainerError> {
    ContainerBuilder::new(arguments.id.clone(), SyscallType::default())
        .with_executor(program)
        .with_console_socket(arguments.console.clone())
        .with_root_path(arguments.root.clone())
}
