//! Devices of containers: nodes that are made in it, and rules of its cgroup.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use lepton_cri::v1::Device;
use serde_json::{Value, json};

use crate::error::{Context as _, Failure, Result};
use crate::files;

/// Nodes and rules.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// `linux.devices`
    pub(super) nodes: Vec<Value>,
    /// `linux.resources.devices`
    pub(super) rules: Vec<Value>,
}

/// Character devices that every container may use: null, zero, full, tty, urandom, random, console, ptmx.
const USUAL: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (5, 0), (1, 9), (1, 8), (5, 1), (5, 2)];
/// Major number of terminals in devpts.
const PTS: u32 = 136;

/// What a container gets; all of the host when it is privileged.
pub(super) fn devices(wanted: &[Device], privileged: bool) -> Result<Devices> {
    let mut devices = Devices::default();
    if privileged {
        devices.rules.push(json!({"allow": true, "access": "rwm"}));
        all(Path::new("/dev"), &mut devices);
    } else {
        devices.rules.push(json!({"allow": false, "access": "rwm"}));
        // Nodes may be made, as with other runtimes; using them is another matter.
        devices.rules.push(json!({"allow": true, "type": "c", "access": "m"}));
        devices.rules.push(json!({"allow": true, "type": "b", "access": "m"}));
        for (major, minor) in USUAL {
            devices
                .rules
                .push(json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"}));
        }
        devices.rules.push(json!({"allow": true, "type": "c", "major": PTS, "access": "rwm"}));
    }
    for device in wanted {
        add(device, &mut devices)?;
    }
    Ok(devices)
}

fn add(device: &Device, devices: &mut Devices) -> Result<()> {
    let access = if device.permissions.is_empty() { "rwm" } else { &device.permissions };
    if !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(Failure::invalid(format!("device permissions {access:?} are not of r, w and m")));
    }
    let host = Path::new(&device.host_path);
    let inside = if device.container_path.is_empty() { &device.host_path } else { &device.container_path };
    if host.is_dir() {
        let before = devices.nodes.len();
        for name in files::names(host) {
            let below = host.join(&name);
            if let Ok(path) = below.canonicalize()
                && node(&path, &Path::new(inside).join(&name), access, devices).is_ok()
            {}
        }
        if devices.nodes.len() == before {
            return Err(Failure::invalid(format!("no devices in {}", host.display())));
        }
        return Ok(());
    }
    let path = host.canonicalize().or_cannot(format!("find device {}", host.display()))?;
    node(&path, Path::new(inside), access, devices)
}

fn node(host: &Path, inside: &Path, access: &str, devices: &mut Devices) -> Result<()> {
    let data = host.metadata().or_cannot(format!("look at {}", host.display()))?;
    let kind = match data.file_type() {
        kind if kind.is_char_device() => "c",
        kind if kind.is_block_device() => "b",
        _ => return Err(Failure::invalid(format!("{} is no device", host.display()))),
    };
    let (major, minor) = (rustix::fs::major(data.rdev()), rustix::fs::minor(data.rdev()));
    devices.nodes.push(json!({"path": inside, "type": kind, "major": major, "minor": minor,
        "fileMode": data.mode() & 0o777, "uid": data.uid(), "gid": data.gid()}));
    devices
        .rules
        .push(json!({"allow": true, "type": kind, "major": major, "minor": minor, "access": access}));
    Ok(())
}

/// Every node of the host, but what each container has of its own.
fn all(folder: &Path, devices: &mut Devices) {
    const OWN: [&str; 10] =
        ["pts", "shm", "mqueue", "console", "null", "zero", "full", "tty", "urandom", "random"];
    for name in files::names(folder) {
        let path = folder.join(&name);
        let Ok(data) = path.symlink_metadata() else { continue };
        if folder == Path::new("/dev") && (OWN.contains(&name.as_str()) || name == "ptmx" || name == "fd") {
            continue;
        }
        if data.is_dir() {
            all(&path, devices);
        } else if data.file_type().is_char_device() || data.file_type().is_block_device() {
            let mut own = Devices::default();
            if node(&path, &path, "rwm", &mut own).is_ok() {
                devices.nodes.append(&mut own.nodes);
            }
        }
    }
}
