//! The bundle that libcontainer reads: the given one, without what it would not do (system call filters, limits of the
//! cgroup, which exists already), and with the capabilities that installing a filter takes.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process, Spec};

/// A bundle could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what} {}", path.display())]
pub(crate) struct BundleError {
    what: &'static str,
    path: PathBuf,
    source: std::io::Error,
}

fn of<'a>(what: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> BundleError + 'a {
    move |source| BundleError { what, path: path.to_owned(), source }
}

/// The configuration of a bundle.
pub(crate) fn read(bundle: &Path) -> Result<Spec, BundleError> {
    let path = bundle.join("config.json");
    let text = fs::read(&path).map_err(of("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| of("use", &path)(error.into()))
}

/// A `process.json`.
pub(crate) fn read_process(path: &Path) -> Result<Process, BundleError> {
    let text = fs::read(path).map_err(of("read", path))?;
    serde_json::from_slice(&text).map_err(|error| of("use", path)(error.into()))
}

/// Writes the bundle for libcontainer beside the given one; gives its folder and what is in it.
pub(crate) fn write_lowered(bundle: &Path, spec: &Spec) -> Result<(PathBuf, Spec), BundleError> {
    let folder = bundle.join("libcontainer");
    fs::create_dir_all(&folder).map_err(of("make", &folder))?;
    let mut lowered = spec.clone();
    if let Some(root) = lowered.root_mut() {
        let path = bundle.join(root.path());
        root.set_path(path);
    }
    if let Some(linux) = lowered.linux_mut() {
        linux.set_resources(None);
        linux.set_seccomp(None);
    }
    if let Some(process) = lowered.process_mut() {
        widen(process, is_filtered(spec));
    }
    write(&folder.join("config.json"), &lowered)?;
    Ok((folder, lowered))
}

/// Writes the `process.json` for libcontainer beside the given one, and says where.
pub(crate) fn write_lowered_process(
    path: &Path,
    process: &Process,
    spec: &Spec,
) -> Result<PathBuf, BundleError> {
    let mut lowered = process.clone();
    widen(&mut lowered, is_filtered(spec));
    let path = path.with_extension("lowered");
    write(&path, &lowered)?;
    Ok(path)
}

fn write(path: &Path, value: &impl serde::Serialize) -> Result<(), BundleError> {
    let json = serde_json::to_vec(value).map_err(|error| of("write", path)(error.into()))?;
    fs::write(path, json).map_err(of("write", path))
}

/// Whether the container has a system call filter.
pub(crate) fn is_filtered(spec: &Spec) -> bool {
    spec.linux().as_ref().is_some_and(|linux| linux.seccomp().is_some())
}

/// Whether installing the filter takes a capability, so that it must be done before they are dropped (seccomp(2)).
pub(crate) fn needs_capability(process: &Process) -> bool {
    process.no_new_privileges() != Some(true)
}

/// Keeps what is needed until the filter is there; the executor drops it.
fn widen(process: &mut Process, filtered: bool) {
    if !filtered || !needs_capability(process) {
        return;
    }
    let capabilities = process.capabilities().clone().unwrap_or_else(none);
    let wider = |set: &Option<Capabilities>| {
        let mut set = set.clone().unwrap_or_default();
        set.extend([Capability::SysAdmin, Capability::Setpcap]);
        Some(set)
    };
    let mut wide = capabilities.clone();
    wide.set_bounding(wider(capabilities.bounding()));
    wide.set_permitted(wider(capabilities.permitted()));
    wide.set_effective(wider(capabilities.effective()));
    process.set_capabilities(Some(wide));
}

fn none() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None).set_permitted(None).set_effective(None).set_inheritable(None).set_ambient(None);
    none
}
