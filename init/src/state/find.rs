//! Finding the state partition: the GPT partition with the label `lepton-state` on the disk that the system was started
//! from. One on another disk belongs to another system, and is used only when that was asked for.
//!
//! Disks may appear late, so the search waits, but only when there is something to wait for:
//! * Boot loaders on disk say which partition they were read from (`lepton_disks::loader`). PID 1 then waits for the
//!   disk with that partition, 5 s at most. All partitions of a disk appear together, so nothing is lost when that disk
//!   has no state partition.
//! * Without that (direct kernel boot, network, CD) there is one look and no wait.
//! * `lepton.state-wait=SECONDS` waits for a state partition itself, wherever it is.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use lepton_disks::loader;

use super::LABEL;
use crate::gpt::{self, PartitionId};
use crate::kmsg::Level;
use crate::{clock, files, kmsg};

/// Slow enough USB and RAID controllers need seconds; a disk that takes longer is broken.
pub(crate) const BOOT_DISK_WAIT: Duration = Duration::from_secs(5);
/// Between two looks: short against a disk's start, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The partition that the boot loader on disk was read from, when one says so.
pub(crate) fn loader_partition() -> Option<PartitionId> {
    loader::partition()
}

/// Whose state partition will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// That of the disk which the system was started from.
    BootDisk,
    /// Any, that one before others.
    AnyDisk,
}

/// The kernel's name of the state partition.
pub(super) fn find(reach: Reach, asked_wait: Option<Duration>) -> Option<Partition> {
    let boot_partition = loader_partition();
    // Without an answer from the firmware, losing what a host wrote is worse than using what another one did.
    let reach = if loader::is_mute() { Reach::AnyDisk } else { reach };
    let wait = asked_wait.unwrap_or(if boot_partition.is_some() { BOOT_DISK_WAIT } else { Duration::ZERO });
    let deadline = clock::since_boot() + wait;
    let mut disk_seen = false;
    loop {
        let partitions = scan();
        let boot_disk = boot_partition.and_then(|id| disk_with(&partitions, id));
        let late = clock::since_boot() >= deadline;
        // A state partition of another disk is taken only after the boot disk had its time to appear.
        if late || boot_partition.is_none() || boot_disk.is_some() {
            if let Some(found) = choose(&partitions, boot_disk, reach) {
                return Some(found.clone());
            }
            // The kernel adds a disk's partitions one by one: the second look sees all of them.
            if late || (asked_wait.is_none() && disk_seen) {
                for other in partitions.iter().filter(|partition| partition.is_state) {
                    let text = "is the state partition of another system; lepton.state=required uses it";
                    kmsg::log(Level::Notice, &format!("{} {text}", other.name));
                }
                return None;
            }
            disk_seen = boot_disk.is_some();
        }
        sleep(LOOK_EVERY);
    }
}

/// The disk with a state partition that the running system was started from: the system is installed there.
pub(super) fn installed_on() -> Option<String> {
    let id = loader_partition()?;
    let deadline = clock::since_boot() + BOOT_DISK_WAIT;
    let mut disk_seen = false;
    loop {
        let partitions = scan();
        let boot_disk = disk_with(&partitions, id);
        if boot_disk.is_some() && choose(&partitions, boot_disk, Reach::BootDisk).is_some() {
            return boot_disk.map(str::to_owned);
        }
        if disk_seen || clock::since_boot() >= deadline {
            return None;
        }
        disk_seen = boot_disk.is_some();
        sleep(LOOK_EVERY);
    }
}

/// A partition as the kernel shows it in `/sys/class/block`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Partition {
    /// The kernel's name, `vda2`.
    pub(super) name: String,
    /// The kernel's name of its disk, `vda`.
    pub(super) disk: String,
    /// Whether it has the label of a state partition.
    pub(super) is_state: bool,
}

fn scan() -> Vec<Partition> {
    let names = files::list_dir("/sys/class/block").unwrap_or_default();
    names.into_iter().filter_map(read_partition).collect()
}

fn read_partition(name: String) -> Option<Partition> {
    let link = format!("/sys/class/block/{name}");
    let uevent = fs::read_to_string(format!("{link}/uevent")).ok()?;
    // The kernel makes the device node just after the entry that is read here.
    if !uevent.lines().any(|line| line == "DEVTYPE=partition") || !Path::new("/dev").join(&name).exists() {
        return None;
    }
    // The link ends in `block/DISK/PARTITION`.
    let disk = fs::read_link(link).ok()?.parent()?.file_name()?.to_str()?.to_owned();
    Some(Partition { name, disk, is_state: is_state(&uevent) })
}

fn is_state(uevent: &str) -> bool {
    uevent.lines().any(|line| line.strip_prefix("PARTNAME=") == Some(LABEL))
}

fn choose<'a>(partitions: &'a [Partition], boot_disk: Option<&str>, reach: Reach) -> Option<&'a Partition> {
    let candidates = || partitions.iter().filter(|partition| partition.is_state);
    let mut others = candidates().filter(|_| reach == Reach::AnyDisk);
    let found = candidates().find(|candidate| Some(candidate.disk.as_str()) == boot_disk);
    let found = found.or_else(|| others.next())?;
    if candidates().count() > 1 {
        kmsg::warn(&format!("several partitions are labelled {LABEL}; using {}", found.name));
    }
    Some(found)
}

fn disk_with(partitions: &[Partition], id: PartitionId) -> Option<&str> {
    let mut disks: Vec<_> = partitions.iter().map(|partition| partition.disk.as_str()).collect();
    disks.dedup();
    disks.into_iter().find(|disk| {
        let sector = files::read_value(format!("/sys/class/block/{disk}/queue/logical_block_size"));
        let sector = sector.ok().and_then(|text| text.parse().ok()).unwrap_or(512);
        let file = File::open(Path::new("/dev").join(disk));
        file.and_then(|mut file| gpt::holds(&mut file, sector, id)).unwrap_or(false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(name: &str, disk: &str, is_state: bool) -> Partition {
        Partition { name: name.into(), disk: disk.into(), is_state }
    }

    #[test]
    fn the_boot_disk_comes_first() {
        let partitions =
            [partition("sda1", "sda", true), partition("vda1", "vda", false), partition("vda2", "vda", true)];
        let chosen = |count: usize, boot_disk, reach| {
            choose(&partitions[..count], boot_disk, reach).map(|found| found.name.as_str())
        };
        for (boot_disk, any, own) in [
            (Some("vda"), Some("vda2"), Some("vda2")),
            (Some("sdb"), Some("sda1"), None),
            (None, Some("sda1"), None),
        ] {
            assert_eq!(chosen(3, boot_disk, Reach::AnyDisk), any, "{boot_disk:?}");
            assert_eq!(chosen(3, boot_disk, Reach::BootDisk), own, "{boot_disk:?}");
        }
        assert_eq!(chosen(2, Some("vda"), Reach::BootDisk), None);
    }

    #[test]
    fn labels_match_whole() {
        assert!(is_state("MAJOR=254\nDEVTYPE=partition\nPARTN=2\nPARTNAME=lepton-state\n"));
        assert!(!is_state("PARTNAME=lepton-state-old\nDEVNAME=lepton-state\n"));
    }
}
