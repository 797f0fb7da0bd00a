//! Disks from sysfs(5), and mounts as PID 1 sees them.

use std::fs;
use std::path::Path;

use lepton_disks::list::Disk;
use lepton_host_api::v1 as api;
use rustix::fs::statvfs;
use tonic::Status;

use super::{Methods, blocking};
use crate::procfs;

impl Methods {
    pub(super) async fn all_disks(&self) -> Result<api::DisksResponse, Status> {
        let sys = self.places.sys.clone();
        blocking(move || {
            let disks = lepton_disks::list::disks();
            Ok(api::DisksResponse { disks: disks.into_iter().map(|disk| shown(&sys, disk)).collect() })
        })
        .await
    }

    pub(super) async fn all_mounts(&self) -> Result<api::MountsResponse, Status> {
        let proc = self.places.proc.clone();
        blocking(move || {
            // This service has mounts of its own.
            let text = fs::read_to_string(proc.join("1/mountinfo"))
                .map_err(|error| Status::internal(format!("cannot read the mounts of PID 1: {error}")))?;
            let root = proc.join("1/root");
            let mounts = text.lines().filter_map(mount).map(|mount| with_space(mount, &root));
            Ok(api::MountsResponse { mounts: mounts.collect() })
        })
        .await
    }
}

fn shown(sys: &Path, disk: Disk) -> api::Disk {
    let folder = sys.join("class/block").join(&disk.name);
    let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned();
    let (read_bytes, written_bytes) = procfs::disk(&text("stat")).unwrap_or_default();
    let device = disk.path().display().to_string();
    let mut partitions: Vec<api::Partition> =
        disk.partitions.iter().filter_map(|name| partition(&folder.join(name), name)).collect();
    partitions.sort_by_key(|partition| partition.number);
    api::Disk {
        device,
        size_bytes: disk.bytes,
        sector_bytes: u32::try_from(disk.sector).unwrap_or(u32::MAX),
        model: text("device/model"),
        serial: disk.serials.into_iter().next().unwrap_or_default(),
        rotational: text("queue/rotational") == "1",
        removable: disk.removable,
        read_only: disk.read_only,
        name: disk.name,
        partitions,
        read_bytes,
        written_bytes,
    }
}

fn partition(folder: &Path, name: &str) -> Option<api::Partition> {
    let text = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let uevent = text("uevent").unwrap_or_default();
    Some(api::Partition {
        number: text("partition")?.trim().parse().ok()?,
        device: format!("/dev/{name}"),
        label: uevent.lines().find_map(|line| line.strip_prefix("PARTNAME=")).unwrap_or_default().to_owned(),
        size_bytes: text("size")?.trim().parse::<u64>().ok()?.checked_mul(512)?,
    })
}

/// A line of proc_pid_mountinfo(5).
fn mount(line: &str) -> Option<api::Mount> {
    let (own, rest) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let rest: Vec<&str> = rest.split(' ').collect();
    let mut options: Vec<String> = own.get(5)?.split(',').map(str::to_owned).collect();
    for option in rest.get(2).unwrap_or(&"").split(',').filter(|option| !option.is_empty()) {
        if !options.iter().any(|known| known == option) {
            options.push(option.to_owned());
        }
    }
    Some(api::Mount {
        target: unescaped(own.get(4)?),
        source: unescaped(rest.get(1)?),
        filesystem: (*rest.first()?).to_owned(),
        options,
        ..Default::default()
    })
}

/// Spaces, tabs, line feeds and backslashes are written as `\` and three octal digits.
fn unescaped(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let digits = others.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &others[3..];
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn with_space(mut mount: api::Mount, root: &Path) -> api::Mount {
    // Those of the network may not answer; what they have is not the host's.
    if matches!(mount.filesystem.as_str(), "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "fuse" | "9p") {
        return mount;
    }
    let path = root.join(mount.target.trim_start_matches('/'));
    if let Ok(space) = statvfs(&path)
        && space.f_blocks > 0
    {
        let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
        mount.size_bytes = Some(bytes(space.f_blocks));
        mount.used_bytes = Some(bytes(space.f_blocks.saturating_sub(space.f_bfree)));
        mount.available_bytes = Some(bytes(space.f_bavail));
        mount.available_files = Some(space.f_favail).filter(|_| space.f_files > 0);
    }
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = r"36 35 98:0 /mnt1 /mnt\040two rw,noatime master:1 shared:2 - ext4 /dev/a\134b rw,errors=continue";
        let mount = mount(line).unwrap();
        assert_eq!((&*mount.target, &*mount.source, &*mount.filesystem), ("/mnt two", r"/dev/a\b", "ext4"));
        assert_eq!(mount.options, ["rw", "noatime", "errors=continue"]);
        assert_eq!(super::mount("36 35 98:0 / /"), None);
        assert_eq!(unescaped(r"\04\9é\"), r"\04\9é\");
    }
}
