//! Finding the state partition: the GPT partition with the label `lepton-state`, one on the boot disk before any other.
//!
//! Disks may appear late, so the search waits, but only when there is something to wait for:
//! * Boot loaders on disk leave the identifier of the partition they were read from in the EFI variable
//!   `LoaderDevicePartUUID`. PID 1 then waits for the disk with that partition, 5 s at most. All partitions of
//!   a disk appear together, so nothing is lost when that disk has no state partition.
//! * Without the variable (direct kernel boot, network, CD) there is one look and no wait.
//! * `lepton.state-wait=SECONDS` waits for a state partition itself, wherever it is.

use std::fs::{self, File};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::LABEL;
use crate::gpt::{self, PartitionId};
use crate::{clock, files, kmsg};

/// The partition the boot loader was read from, in the vendor name space of the Boot Loader Interface.
const BOOT_PARTITION: &str =
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";

/// Slow enough USB and RAID controllers need seconds; a disk that takes longer is broken.
pub(crate) const BOOT_DISK_WAIT: Duration = Duration::from_secs(5);
/// Between two looks: short against a disk's start, long against the cost of a look.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The partition that the boot loader on disk was read from, when one says so.
pub(crate) fn loader_partition() -> Option<PartitionId> {
    fs::read(BOOT_PARTITION).ok().and_then(|bytes| boot_partition(&bytes))
}

/// The kernel's name of the state partition.
pub(super) fn find(asked_wait: Option<Duration>) -> Option<Partition> {
    let boot_partition = loader_partition();
    let wait = asked_wait.unwrap_or(if boot_partition.is_some() { BOOT_DISK_WAIT } else { Duration::ZERO });
    let deadline = clock::since_boot() + wait;
    let mut disk_seen = false;
    loop {
        let partitions = scan();
        let boot_disk = boot_partition.and_then(|id| disk_with(&partitions, id));
        let late = clock::since_boot() >= deadline;
        // A state partition of another disk is taken only after the boot disk had its time to appear.
        if late || boot_partition.is_none() || boot_disk.is_some() {
            if let Some(found) = choose(&partitions, boot_disk) {
                return Some(found.clone());
            }
            // The kernel adds a disk's partitions one by one: the second look sees all of them.
            if late || (asked_wait.is_none() && disk_seen) {
                return None;
            }
            disk_seen = boot_disk.is_some();
        }
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

fn choose<'a>(partitions: &'a [Partition], boot_disk: Option<&str>) -> Option<&'a Partition> {
    let candidates = || partitions.iter().filter(|partition| partition.is_state);
    let found = candidates().find(|candidate| Some(candidate.disk.as_str()) == boot_disk);
    let found = found.or_else(|| candidates().next())?;
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

/// The identifier in an efivarfs file: 4 bytes of attributes, then UTF-16LE text with a final NUL.
fn boot_partition(variable: &[u8]) -> Option<PartitionId> {
    let units = variable.get(4..)?.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let text = String::from_utf16(&units.take_while(|unit| *unit != 0).collect::<Vec<_>>()).ok()?;
    PartitionId::parse(&text)
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
        assert_eq!(choose(&partitions, Some("vda")).map(|found| found.name.as_str()), Some("vda2"));
        assert_eq!(choose(&partitions, Some("sdb")).map(|found| found.name.as_str()), Some("sda1"));
        assert_eq!(choose(&partitions, None).map(|found| found.name.as_str()), Some("sda1"));
        assert_eq!(choose(&partitions[1..2], Some("vda")).map(|found| found.name.as_str()), None);
    }

    #[test]
    fn labels_match_whole() {
        assert!(is_state("MAJOR=254\nDEVTYPE=partition\nPARTN=2\nPARTNAME=lepton-state\n"));
        assert!(!is_state("PARTNAME=lepton-state-old\nDEVNAME=lepton-state\n"));
    }

    #[test]
    fn loader_variable() {
        let id = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let mut bytes = vec![6, 0, 0, 0];
        bytes.extend(id.encode_utf16().chain([0]).flat_map(u16::to_le_bytes));
        assert_eq!(boot_partition(&bytes), PartitionId::parse(id));
        assert_eq!(boot_partition(&bytes[..40]), None);
        assert_eq!(boot_partition(&[]), None);
    }
}
