//! File systems that can fill up: those on disks, and `/var` in memory. Others may hang when they are asked.

use std::collections::BTreeSet;
use std::fs;

use crate::family::{Families, Kind};
use crate::{Outcome, Places};

/// On disks of this host.
const ON_DISK: [&str; 5] = ["ext4", "xfs", "btrfs", "vfat", "f2fs"];

/// Each once, at the first place where it is mounted.
pub(crate) fn collect(places: &Places, families: &mut Families) -> Outcome {
    let Ok(text) = fs::read_to_string(places.proc.join("1/mountinfo")) else { return Outcome::Failed };
    let mut seen = BTreeSet::new();
    for (target, kind, device) in text.lines().filter_map(mount) {
        let is_wanted = ON_DISK.contains(&kind) || kind == "tmpfs" && target == "/var";
        if !is_wanted || target.contains('\\') || !seen.insert(if kind == "tmpfs" { target } else { device })
        {
            continue;
        }
        let Ok(stat) = rustix::fs::statvfs(target) else { continue };
        let labels = [("mountpoint", target), ("device", device), ("type", kind)];
        let sized = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
        for (metric, help, value) in [
            ("lepton_filesystem_size_bytes", "Size of a file system.", sized(stat.f_blocks)),
            ("lepton_filesystem_free_bytes", "Bytes that are not in use.", sized(stat.f_bfree)),
            (
                "lepton_filesystem_available_bytes",
                "Bytes that programs can still write.",
                sized(stat.f_bavail),
            ),
        ] {
            families.add(metric, Kind::Gauge, help).number(&labels, value);
        }
        // Some have no bound.
        if stat.f_files > 0 {
            let help = "Files that there is room for.";
            families.add("lepton_filesystem_files", Kind::Gauge, help).number(&labels, stat.f_files);
            let help = "Files that can still be made.";
            families.add("lepton_filesystem_files_free", Kind::Gauge, help).number(&labels, stat.f_ffree);
        }
    }
    Outcome::Read
}

/// Where, of which type and from what (proc_pid_mountinfo(5)).
fn mount(line: &str) -> Option<(&str, &str, &str)> {
    let (before, behind) = line.split_once(" - ")?;
    let target = before.split(' ').nth(4)?;
    let mut words = behind.split(' ');
    Some((target, words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo() {
        let line = "36 35 98:0 / /var rw,noatime shared:1 - ext4 /dev/vda2 rw,errors=continue";
        assert_eq!(mount(line), Some(("/var", "ext4", "/dev/vda2")));
        assert_eq!(mount("36 35"), None);
    }

    #[test]
    fn one_of_this_machine() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("1")).unwrap();
        let target = dir.path().display();
        let text = format!(
            "1 0 0:1 / {target} rw - ext4 /dev/x rw\n2 0 0:1 / /again rw - ext4 /dev/x rw\n3 0 0:2 / /net rw - nfs4 a:/b rw\n"
        );
        fs::write(dir.path().join("1/mountinfo"), text).unwrap();
        let places = Places { proc: dir.path().to_owned(), ..Places::default() };
        let mut families = Families::default();
        assert_eq!(collect(&places, &mut families), Outcome::Read);
        let text = families.text(crate::Format::OpenMetrics);
        assert!(
            text.contains(&format!(
                "lepton_filesystem_size_bytes{{mountpoint=\"{target}\",device=\"/dev/x\""
            ))
        );
        assert!(!text.contains("/again") && !text.contains("/net"), "{text}");
    }
}
