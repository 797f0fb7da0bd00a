//! Disks and links (the kernel's Documentation/admin-guide/iostats.rst, and sysfs-class-net-statistics).

use std::fs;
use std::path::Path;

use walkdir::WalkDir;

use crate::family::{Families, Kind};
use crate::kernel::number;
use crate::{Outcome, Places};

/// The kernel counts sectors of this size, whatever the disk has.
const SECTOR: u64 = 512;
/// Devices that are memory or parts of others.
const NO_DISKS: [&str; 4] = ["loop", "ram", "zram", "dm-"];

/// Both.
pub(crate) fn collect(places: &Places, families: &mut Families) -> Outcome {
    for name in names(&places.sys.join("block")) {
        if !NO_DISKS.iter().any(|prefix| name.starts_with(prefix)) {
            disk(&places.sys.join("block").join(&name), &name, families);
        }
    }
    let links = places.sys.join("class/net");
    for name in names(&links).iter().filter(|name| *name != "lo") {
        link(&links.join(name), name, families);
    }
    Outcome::Read
}

/// Names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = WalkDir::new(folder).min_depth(1).max_depth(1).sort_by_file_name().into_iter();
    entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().to_str().map(str::to_owned)).collect()
}

fn disk(folder: &Path, name: &str, families: &mut Families) {
    let Ok(stat) = fs::read_to_string(folder.join("stat")) else { return };
    let fields: Vec<u64> = stat.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let device = [("device", name)];
    let sized = number(&folder.join("size")).map(|sectors| sectors * SECTOR);
    families.add("lepton_disk_size_bytes", Kind::Gauge, "Size of a disk.").known(&device, sized);
    for (field, factor, metric, help) in [
        (0, 1, "lepton_disk_reads", "Reads of a disk that were done."),
        (2, SECTOR, "lepton_disk_read_bytes", "Bytes that were read from a disk."),
        (4, 1, "lepton_disk_writes", "Writes of a disk that were done."),
        (6, SECTOR, "lepton_disk_written_bytes", "Bytes that were written to a disk."),
    ] {
        let value = fields.get(field).map(|value| value * factor);
        families.add(metric, Kind::Counter, help).known(&device, value);
    }
    for (field, metric, help) in [
        (3, "lepton_disk_read_time_seconds", "Time that all reads of a disk took together."),
        (7, "lepton_disk_write_time_seconds", "Time that all writes of a disk took together."),
        (9, "lepton_disk_busy_seconds", "Time in which a disk had work."),
    ] {
        if let Some(millis) = fields.get(field) {
            let seconds = crate::kernel::seconds(millis * 1000);
            families.add(metric, Kind::Counter, help).real(&device, seconds);
        }
    }
    let busy = "Reads and writes of a disk that are under way.";
    families.add("lepton_disk_requests", Kind::Gauge, busy).known(&device, fields.get(8).copied());
}

fn link(folder: &Path, name: &str, families: &mut Families) {
    let link = [("link", name)];
    let is_up =
        fs::read_to_string(folder.join("operstate")).ok().map(|state| u64::from(state.trim() == "up"));
    families.add("lepton_network_up", Kind::Gauge, "Whether a link is up.").known(&link, is_up);
    // Megabits; a link without carrier or speed says -1 or nothing.
    let speed = number(&folder.join("speed")).map(|megabits| megabits * 1_000_000 / 8);
    let help = "Bytes that a link can carry in a second.";
    families.add("lepton_network_speed_bytes", Kind::Gauge, help).known(&link, speed);
    for (file, metric, help) in [
        ("rx_bytes", "lepton_network_received_bytes", "Bytes that a link received."),
        ("rx_packets", "lepton_network_received_packets", "Packets that a link received."),
        ("rx_errors", "lepton_network_receive_errors", "Packets that a link received with errors."),
        ("rx_dropped", "lepton_network_receive_drops", "Packets that a link received and dropped."),
        ("tx_bytes", "lepton_network_sent_bytes", "Bytes that a link sent."),
        ("tx_packets", "lepton_network_sent_packets", "Packets that a link sent."),
        ("tx_errors", "lepton_network_send_errors", "Packets that a link could not send."),
        ("tx_dropped", "lepton_network_send_drops", "Packets that a link dropped instead of sending them."),
    ] {
        let value = number(&folder.join("statistics").join(file));
        families.add(metric, Kind::Counter, help).known(&link, value);
    }
}
