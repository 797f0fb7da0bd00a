//! Disks and mounts.

use lepton_host_api::v1 as api;
use serde_json::Value;

use super::{maybe, size, text};
use crate::output::{Table, View, objects};

impl View for api::DisksResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let rows = self.disks.iter().flat_map(|disk| {
            let kinds = [
                (disk.rotational, "rotational"),
                (disk.removable, "removable"),
                (disk.read_only, "read-only"),
            ];
            let kinds: Vec<&str> = kinds.iter().filter(|(is, _)| *is).map(|(_, kind)| *kind).collect();
            let whole = vec![
                disk.device.clone(),
                size(disk.size_bytes),
                format!("{} B", disk.sector_bytes),
                text(&disk.model),
                text(&disk.serial),
                text(&kinds.join(",")),
            ];
            let partitions = disk.partitions.iter().map(|partition| {
                vec![
                    format!("  {}", partition.device),
                    size(partition.size_bytes),
                    String::new(),
                    text(&partition.label),
                ]
            });
            std::iter::once(whole).chain(partitions)
        });
        vec![Table {
            head: &["DEVICE", "SIZE", "SECTOR", "MODEL/LABEL", "SERIAL", "KIND"],
            rows: rows.collect(),
        }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.disks)
    }
}

impl View for api::MountsResponse {
    fn tables(&self, _: bool) -> Vec<Table> {
        let row = |mount: &api::Mount| {
            let used = match (mount.used_bytes, mount.size_bytes) {
                (Some(used), Some(size)) if size > 0 => {
                    format!("{}%", u128::from(used) * 100 / u128::from(size))
                }
                _ => "-".to_owned(),
            };
            vec![
                mount.target.clone(),
                text(&mount.source),
                mount.filesystem.clone(),
                maybe(mount.size_bytes, size),
                used,
                maybe(mount.available_bytes, size),
                mount.options.join(","),
            ]
        };
        let head = &["TARGET", "SOURCE", "TYPE", "SIZE", "USED", "AVAILABLE", "OPTIONS"];
        vec![Table { head, rows: self.mounts.iter().map(row).collect() }]
    }

    fn objects(&self) -> Vec<Value> {
        objects(&self.mounts)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::output::printed;

    #[test]
    fn disks_and_mounts() {
        let disks = api::DisksResponse {
            disks: vec![api::Disk {
                name: "vda".into(),
                device: "/dev/vda".into(),
                size_bytes: 8 << 30,
                sector_bytes: 512,
                serial: "S1".into(),
                removable: true,
                partitions: vec![api::Partition {
                    number: 1,
                    device: "/dev/vda1".into(),
                    label: "ESP".into(),
                    size_bytes: 1 << 30,
                }],
                ..Default::default()
            }],
        };
        let mounts = api::MountsResponse {
            mounts: vec![
                api::Mount {
                    target: "/".into(),
                    source: "rootfs".into(),
                    filesystem: "erofs".into(),
                    options: vec!["ro".into()],
                    size_bytes: Some(2 << 20),
                    used_bytes: Some(2 << 20),
                    available_bytes: Some(0),
                    available_files: None,
                },
                api::Mount {
                    target: "/proc".into(),
                    filesystem: "proc".into(),
                    options: vec!["rw".into(), "nosuid".into()],
                    ..Default::default()
                },
            ],
        };
        let mut text = printed(false, &["a"], |output| output.answers(&[("a", disks)]));
        text.push_str(&printed(false, &["a"], |output| output.answers(&[("a", mounts)])));
        expect![[r#"
            DEVICE       SIZE     SECTOR  MODEL/LABEL  SERIAL  KIND
            /dev/vda     8.0 GiB  512 B   -            S1      removable
              /dev/vda1  1.0 GiB          ESP
            TARGET  SOURCE  TYPE   SIZE     USED  AVAILABLE  OPTIONS
            /       rootfs  erofs  2.0 MiB  100%  0 B        ro
            /proc   -       proc   -        -     -          rw,nosuid
        "#]]
        .assert_eq(&text);
    }
}
