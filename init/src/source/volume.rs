//! The block devices of the host with their labels, and reading single files from them.
//!
//! A volume is mounted read-only for as long as a file is read, and no link in it is followed: it may be a stranger's.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::label::{self, FileSystem};
use crate::gpt::{self, Entry, PartitionId};
use crate::{clock, files, state};

/// Between two looks for a disk that is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Where volumes are mounted, one at a time.
const MOUNT_POINT: &str = "/run/lepton/source";
/// Devices that hold no config, or that start a motor to say so.
const IGNORED: [&str; 8] = ["dm-", "fd", "loop", "md", "mtdblock", "nbd", "ram", "zram"];
/// Labels that are waited for, in lower case.
const LABELS: [&str; 3] = ["cidata", "config-2", OVF_LABEL];
/// What VMware calls the CD with the OVF environment.
pub(super) const OVF_LABEL: &str = "ovf env";

/// A device with a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    /// The kernel's name of the device, `sr0`.
    pub(super) device: String,
    /// Its label, in lower case and with blanks for underscores, because tools disagree on both.
    pub(super) label: String,
    pub(super) kind: FileSystem,
    /// Its entry in the disk's partition table; only of FAT file systems, which may be EFI system partitions.
    entry: Option<Entry>,
}

/// The volumes of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Volumes(Vec<Volume>);

impl Volumes {
    /// Reads the labels of all devices. It waits for what is likely to appear: the partition of a boot loader on disk,
    /// as long as the search for the state partition does, and with `wait` one that is labelled to hold a config.
    pub(super) fn scan(wait: Option<Duration>) -> Self {
        let loader = state::loader_partition();
        let start = clock::since_boot();
        loop {
            let volumes = Self(devices().into_iter().filter_map(read_volume).collect());
            let waited = clock::since_boot().saturating_sub(start);
            let has_loader = loader.is_none() || volumes.esps(loader).next().is_some();
            let has_config = volumes.iter().any(|volume| LABELS.contains(&volume.label.as_str()));
            let is_done = has_loader || waited >= state::BOOT_DISK_WAIT;
            if is_done && (has_config || wait.is_none_or(|wait| waited >= wait)) {
                return volumes;
            }
            sleep(LOOK_EVERY);
        }
    }

    /// The EFI system partition with this identifier, or without one all of them.
    pub(super) fn esps(&self, id: Option<PartitionId>) -> impl Iterator<Item = &Volume> {
        self.iter().filter(move |volume| {
            volume.entry.is_some_and(|entry| id.map_or(entry.is_esp, |id| entry.id == id))
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Volume> {
        self.0.iter()
    }

    /// The volumes with a label.
    pub(super) fn labelled(&self, label: &str) -> impl Iterator<Item = &Volume> {
        self.iter().filter(move |volume| volume.label == label)
    }
}

fn devices() -> Vec<String> {
    let names = files::list_dir("/sys/class/block").unwrap_or_default();
    names.into_iter().filter(|name| !is_ignored(name)).collect()
}

fn is_ignored(name: &str) -> bool {
    IGNORED.iter().any(|prefix| name.starts_with(prefix))
        || files::read_value(format!("/sys/class/block/{name}/size")).is_ok_and(|size| size == "0")
}

fn read_volume(device: String) -> Option<Volume> {
    // A drive without a medium answers with an error at once.
    let mut file = File::open(Path::new("/dev").join(&device)).ok()?;
    let (kind, label) = label::read(&mut file).ok()??;
    let entry = if kind == FileSystem::Vfat { partition_entry(&device) } else { None };
    Some(Volume { device, label: label.to_lowercase().replace('_', " "), kind, entry })
}

/// The entry of a partition in the table of its disk; `None` for a whole disk and for other kinds of tables.
fn partition_entry(device: &str) -> Option<Entry> {
    let link = format!("/sys/class/block/{device}");
    let number: usize = files::read_value(format!("{link}/partition")).ok()?.parse().ok()?;
    // The link ends in `block/DISK/PARTITION`.
    let disk = fs::read_link(&link).ok()?.parent()?.file_name()?.to_str()?.to_owned();
    let sector = files::read_value(format!("/sys/class/block/{disk}/queue/logical_block_size"));
    let sector = sector.ok().and_then(|text| text.parse().ok()).unwrap_or(512);
    let mut file = File::open(Path::new("/dev").join(disk)).ok()?;
    gpt::entries(&mut file, sector).ok()?.get(number.checked_sub(1)?).copied()
}

impl Volume {
    /// Whether it is in an optical drive.
    pub(super) fn is_optical(&self) -> bool {
        self.device.starts_with("sr")
    }

    /// Mounts the volume, lets `read` have its files, and takes it away again.
    pub(super) fn with_files<T>(&self, read: impl FnOnce(&Files) -> T) -> io::Result<T> {
        fs::create_dir_all(MOUNT_POINT)?;
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        // Without noload the kernel writes to a file system that was not unmounted cleanly.
        let data = (self.kind == FileSystem::Ext4).then_some(c"noload");
        mount(Path::new("/dev").join(&self.device), MOUNT_POINT, self.kind.name(), flags, data)?;
        let result = open(MOUNT_POINT, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map(Files)
            .map(|files| read(&files));
        // The one user of the mount has closed its files; detaching cannot fail for being busy.
        unmount(MOUNT_POINT, UnmountFlags::DETACH)?;
        Ok(result?)
    }
}

/// The files of a mounted volume.
#[derive(Debug)]
pub(super) struct Files(rustix::fd::OwnedFd);

impl Files {
    /// The contents of a file; `None` when it is not there.
    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        // NONBLOCK: opening a FIFO must not wait for its writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        match openat2(self.0.as_fd(), path, flags, Mode::empty(), resolve) {
            Ok(file) => {
                bounded(File::from(file)).map(Some).map_err(|error| format!("cannot read {path}: {error}"))
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(format!("cannot open {path}: {errno}")),
        }
    }
}

/// Reads a plain file of at most [`lepton_config::MAX_BYTES`].
pub(super) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?)
}

fn bounded(file: File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a plain file"));
    }
    let mut bytes = Vec::new();
    // One byte more, so that the parser sees that it is too large.
    file.take(lepton_config::MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
