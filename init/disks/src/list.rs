//! The disks of this machine, from sysfs and `/proc/self/mountinfo`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::loader;

/// Devices that are no disks to keep a system on: memory, optical and network drives, and parts of other devices.
const OTHERS: [&str; 9] = ["dm-", "fd", "loop", "md", "mtdblock", "nbd", "ram", "sr", "zram"];

/// A whole disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, `nvme0n1`.
    pub name: String,
    /// Bytes of a logical sector.
    pub sector: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What the disk calls itself: serial number and world wide name, where the kernel knows them.
    pub serials: Vec<String>,
    /// Whether it is a stick or another medium that comes and goes.
    pub removable: bool,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Names of its partitions.
    pub partitions: Vec<String>,
    /// Why it must be left alone: mounted, part of another device, or what the running system was started from.
    pub in_use: Option<String>,
}

impl Disk {
    /// The device node.
    pub fn path(&self) -> PathBuf {
        Path::new("/dev").join(&self.name)
    }

    /// The kernel's name of partition `number`.
    pub fn partition(&self, number: u32) -> String {
        let dash = if self.name.ends_with(|last: char| last.is_ascii_digit()) { "p" } else { "" };
        format!("{}{dash}{number}", self.name)
    }
}

/// All disks, sorted by name.
pub fn disks() -> Vec<Disk> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut disks = below(Path::new("/sys/class/block"), &mounts);
    if let Some(id) = loader::partition() {
        let started = disks.iter_mut().filter(|disk| disk.in_use.is_none() && loader::is_on(disk, id));
        started.for_each(|disk| disk.in_use = Some("this system was started from it".to_owned()));
    }
    disks
}

/// The disk with this kernel name.
pub fn disk(name: &str) -> io::Result<Disk> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    read(Path::new("/sys/class/block"), name, &mounts)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} is no disk")))
}

fn below(sys: &Path, mounts: &str) -> Vec<Disk> {
    names(sys).iter().filter_map(|name| read(sys, name, mounts)).collect()
}

fn read(sys: &Path, name: &str, mounts: &str) -> Option<Disk> {
    let dir = sys.join(name);
    let is_other = OTHERS.iter().any(|prefix| name.starts_with(prefix));
    let uevent = fs::read_to_string(dir.join("uevent")).ok()?;
    let bytes = number(&dir.join("size"))? * 512;
    if is_other || bytes == 0 || !uevent.lines().any(|line| line == "DEVTYPE=disk") {
        return None;
    }
    let partitions: Vec<String> =
        names(&dir).into_iter().filter(|child| dir.join(child).join("partition").exists()).collect();
    Some(Disk {
        name: name.to_owned(),
        sector: number(&dir.join("queue/logical_block_size")).unwrap_or(512),
        bytes,
        serials: serials(&dir),
        removable: number(&dir.join("removable")) == Some(1),
        read_only: number(&dir.join("ro")) == Some(1),
        in_use: in_use(&dir, &partitions, mounts),
        partitions,
    })
}

/// Where drivers show serial numbers: virtio and NVMe, NVMe controllers, SCSI (page 0x80 has a header of 4 bytes),
/// and world wide names.
fn serials(dir: &Path) -> Vec<String> {
    let text = |name: &str| fs::read_to_string(dir.join(name)).ok();
    let page = fs::read(dir.join("device/vpd_pg80")).ok();
    let page = page.and_then(|bytes| String::from_utf8(bytes.get(4..)?.to_vec()).ok());
    let found = [text("serial"), text("device/serial"), page, text("wwid"), text("device/wwid")];
    let trimmed =
        found.into_iter().flatten().map(|text| text.trim_matches(['\0', ' ', '\n', '\t']).to_owned());
    let mut serials: Vec<String> = trimmed.filter(|text| !text.is_empty()).collect();
    serials.dedup();
    serials
}

fn in_use(dir: &Path, partitions: &[String], mounts: &str) -> Option<String> {
    let parts = partitions.iter().map(|name| dir.join(name));
    for device in [dir.to_owned()].into_iter().chain(parts) {
        if let Some(holder) = names(&device.join("holders")).first() {
            return Some(format!("it is part of {holder}"));
        }
        let Ok(number) = fs::read_to_string(device.join("dev")) else { continue };
        // proc_pid_mountinfo(5): the third field is the device number, the fifth where it is mounted.
        let mounted = mounts.lines().find_map(|line| {
            let mut words = line.split(' ').skip(2);
            let found = words.next() == Some(number.trim());
            words.nth(1).filter(|_| found)
        });
        if let Some(place) = mounted {
            return Some(format!("it is mounted on {place}"));
        }
    }
    None
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[expect(clippy::disallowed_methods, reason = "the one directory listing of this crate, and it sorts")]
fn names(dir: &Path) -> Vec<String> {
    let listed = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = listed.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(sys: &Path, path: &str, text: &[u8]) {
        let path = sys.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn disks_with_their_partitions_serials_and_use() {
        let dir = tempfile::tempdir().unwrap();
        let sys = dir.path();
        for (name, size) in [("sda", "2048"), ("nvme0n1", "4096"), ("loop0", "8"), ("sr0", "8"), ("sdb", "0")]
        {
            put(sys, &format!("{name}/uevent"), b"MAJOR=8\nDEVTYPE=disk\n");
            put(sys, &format!("{name}/size"), size.as_bytes());
        }
        put(sys, "nvme0n1/queue/logical_block_size", b"4096\n");
        put(sys, "nvme0n1/device/serial", b"S123  \n");
        put(sys, "nvme0n1/nvme0n1p1/partition", b"1\n");
        put(sys, "nvme0n1/nvme0n1p1/dev", b"259:1\n");
        put(sys, "sda/device/vpd_pg80", b"\0\x80\0\x04ab12");
        put(sys, "sda/removable", b"1\n");
        let mounts = "30 1 259:1 / /var rw,noatime shared:1 - ext4 /dev/nvme0n1p1 rw\n";
        let found = below(sys, mounts);
        assert_eq!(found.iter().map(|disk| disk.name.as_str()).collect::<Vec<_>>(), ["nvme0n1", "sda"]);
        assert_eq!((found[0].sector, found[0].bytes), (4096, 2 << 20));
        assert_eq!(found[0].partitions, ["nvme0n1p1"]);
        assert_eq!(found[0].in_use.as_deref(), Some("it is mounted on /var"));
        assert_eq!((found[0].partition(2).as_str(), found[1].partition(2).as_str()), ("nvme0n1p2", "sda2"));
        assert_eq!((found[1].serials.clone(), found[1].removable), (vec!["ab12".to_owned()], true));
        assert_eq!(found[1].in_use, None);
    }
}
