//! `/var`: the state partition when there is one, else memory.
//!
//! This file is the order of things; finding the partition is in `find`, its file system in `superblock` and `check`,
//! making it anew in `make`, and what may take long and happens after the boot in `grow`.

mod check;
mod find;
pub mod grow;
mod make;
mod superblock;

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::kmsg;
use crate::options::{Options, StateRule};
use crate::step::{Failure, chain};
use check::CheckError;
pub(crate) use find::{BOOT_DISK_WAIT, loader_partition};
use find::{Partition, Reach};
use make::MakeError;

/// GPT name of the state partition.
const LABEL: &str = "lepton-state";

/// The file that asks for an empty state partition at the next boot. [`request_reset`] makes it.
const RESET_REQUEST: &str = "/var/lib/lepton/reset-state";

/// What is mounted on `/var`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The device node; `None` when state is in memory.
    pub device: Option<String>,
    /// Name of the file system type.
    pub filesystem: &'static str,
    /// What was asked for and not done, one sentence each.
    pub errors: Vec<String>,
}

/// Why `/var` could not be mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// `lepton.state=required`, and there is no partition.
    #[error("no partition is labelled {LABEL}")]
    Missing,
    /// The state partition exists and is unusable.
    #[error("cannot mount {device} on /var")]
    Mount {
        /// The device node.
        device: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// Its file system is damaged beyond repair without a person.
    #[error("cannot repair {device}")]
    Check {
        /// The device node.
        device: String,
        /// What the checker said.
        source: CheckError,
    },
    /// The state partition could not be made anew.
    #[error("cannot make an empty file system on {device}")]
    MakeAnew {
        /// The device node.
        device: String,
        /// Why.
        source: MakeError,
    },
    /// Memory could not be mounted, or a directory not be made.
    #[error("cannot make {path}")]
    Make {
        /// What could not be made.
        path: String,
        /// What the kernel answered.
        source: io::Error,
    },
}

impl Failure for StateError {
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing => {
                Some("lepton.state-wait=SECONDS on the kernel command line waits for slow disks")
            }
            Self::Mount { .. } | Self::Check { .. } | Self::MakeAnew { .. } => Some(
                "on the kernel command line, lepton.state=tmpfs boots without the partition, for repair, and \
                 lepton.reset=state empties it",
            ),
            Self::Make { .. } => None,
        }
    }
}

/// Mounts `/var` as the options say and gives it its first directories.
///
/// A state partition that exists and cannot be mounted is an error: going on in memory would look healthy and
/// lose everything at the next boot.
pub fn mount_var(options: &Options) -> Result<State, StateError> {
    let mut errors = Vec::new();
    let found = match options.state {
        // The installer needs the disk to itself.
        _ if options.install.is_some() => None,
        StateRule::Tmpfs => None,
        StateRule::Auto | StateRule::Required => {
            find::find(reach(options), options.state_wait).or_else(|| on_blank_disk(options, &mut errors))
        }
    };
    let state = match found {
        Some(partition) => {
            mount_partition(&partition, options)?;
            State { device: Some(node(&partition)), filesystem: "ext4", errors }
        }
        None if options.state == StateRule::Required => {
            errors.iter().for_each(|error| kmsg::warn(error));
            return Err(StateError::Missing);
        }
        None => {
            // Half of memory: container images must fit, and the containers must run beside them.
            mount("tmpfs", "/var", "tmpfs", FLAGS, c"mode=0755,size=50%")
                .map_err(|errno| StateError::Make { path: "/var".into(), source: errno.into() })?;
            State { device: None, filesystem: "tmpfs", errors }
        }
    };
    make_directories()?;
    Ok(state)
}

/// Containers are not hindered by nosuid and nodev: their roots are overlay mounts with flags of their own.
const FLAGS: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

fn node(partition: &Partition) -> String {
    format!("/dev/{}", partition.name)
}

/// A host that runs from CD or network leaves the state of an installed system alone unless it was told otherwise.
fn reach(options: &Options) -> Reach {
    let is_asked = options.state == StateRule::Required
        || options.state_wait.is_some()
        || options.state_disk.is_some()
        || options.reset_state;
    if is_asked { Reach::AnyDisk } else { Reach::BootDisk }
}

/// The disk that the running system is installed on, when it was started from there.
pub fn installed_on() -> Option<String> {
    find::installed_on()
}

/// Makes a state partition on the disk that the options name, when it is blank.
fn on_blank_disk(options: &Options, errors: &mut Vec<String>) -> Option<Partition> {
    let wanted = options.state_disk.as_deref()?;
    make::on_blank_disk(wanted)
        .map_err(|error| errors.push(format!("state disk {wanted}: {}", chain(&error))))
        .ok()
}

/// Mounts the partition: made anew when that was asked for or has begun, grown, repaired when it needs it.
fn mount_partition(partition: &Partition, options: &Options) -> Result<(), StateError> {
    let device = node(partition);
    grow::grow_table(partition);
    let make_anew = || {
        kmsg::warn(&format!("{device} is emptied"));
        make::anew(Path::new(&device))
            .map_err(|source| StateError::MakeAnew { device: device.clone(), source })
    };
    if options.reset_state || make::has_begun(Path::new(&device)) {
        make_anew()?;
    }
    mount_ext4(&device)?;
    if Path::new(RESET_REQUEST).exists() {
        let failed =
            |errno: rustix::io::Errno| StateError::Mount { device: device.clone(), source: errno.into() };
        unmount("/var", UnmountFlags::empty()).map_err(failed)?;
        make_anew()?;
        mount_ext4(&device)?;
    }
    Ok(())
}

/// Repairs what its superblock says is damaged, and what cannot be mounted, then mounts it.
fn mount_ext4(device: &str) -> Result<(), StateError> {
    let checked = |source| StateError::Check { device: device.to_owned(), source };
    // noatime: reading an image layer must not cause a write per file.
    let mounted = || mount(device, "/var", "ext4", FLAGS | MountFlags::NOATIME, None);
    if superblock::read(Path::new(device)).is_ok_and(|superblock| superblock.has_errors()) {
        check::repair(device).map_err(checked)?;
    }
    let Err(errno) = mounted() else { return Ok(()) };
    kmsg::warn(&format!("cannot mount {device}: {errno}; checking it"));
    check::repair(device).map_err(checked)?;
    mounted().map_err(|errno| StateError::Mount { device: device.to_owned(), source: errno.into() })
}

/// Asks for an empty state partition at the next boot; `/var` must be mounted from it.
pub fn request_reset() -> io::Result<()> {
    let path = Path::new(RESET_REQUEST);
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    fs::File::create(path)?.sync_all()?;
    // The file's name must be on the disk, too.
    fs::File::open(folder)?.sync_all()
}

/// What programs expect in an empty `/var` (hier(7)).
fn make_directories() -> Result<(), StateError> {
    for (name, mode) in [("cache", 0o755), ("lib", 0o755), ("log", 0o755), ("tmp", 0o1777)] {
        let path = format!("/var/{name}");
        existing_is_fine(fs::create_dir(&path))
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .map_err(|source| StateError::Make { path, source })?;
    }
    existing_is_fine(symlink("../run", "/var/run"))
        .map_err(|source| StateError::Make { path: "/var/run".into(), source })
}

fn existing_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
