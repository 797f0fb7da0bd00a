//! An image with busybox, and one with nothing but files in two layers, as `docker save` writes them.

use std::fs::File;
use std::path::Path;

/// Its name.
pub(crate) const NAME: &str = "test.example/busybox:1";
/// The one to mount.
pub(crate) const VOLUME: &str = "test.example/volume:1";

/// Programs of busybox that the scenarios use.
const PROGRAMS: [&str; 15] = [
    "sh", "cat", "echo", "sleep", "id", "ls", "hostname", "mknod", "dd", "ip", "mount", "mkdir", "pwd",
    "stat", "test",
];

/// Writes the archive, with both images.
pub(crate) fn write(busybox: &Path, archive: &Path) {
    let mut out = tar::Builder::new(File::create(archive).unwrap());
    let images = [
        image(&mut out, NAME, &[programs(busybox)]),
        image(&mut out, VOLUME, &[volume_below(), volume_above()]),
    ];
    let manifest = serde_json::json!(images).to_string();
    add(&mut out, "manifest.json", tar::EntryType::Regular, 0o644, manifest.as_bytes());
    out.finish().unwrap();
}

/// Writes the parts of one image; gives its entry of the manifest.
fn image(out: &mut tar::Builder<File>, name: &str, layers: &[Vec<u8>]) -> serde_json::Value {
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let diff_ids: Vec<String> = digests.iter().map(|digest| format!("sha256:{digest}")).collect();
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=1"], "Cmd": ["/bin/sh"], "WorkingDir": "/tmp"},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    .to_string();
    let config_name = format!("{}.json", digest(config.as_bytes()));
    add(out, &config_name, tar::EntryType::Regular, 0o644, config.as_bytes());
    let files: Vec<String> = digests.iter().map(|digest| format!("{digest}.tar")).collect();
    for (file, layer) in files.iter().zip(layers) {
        add(out, file, tar::EntryType::Regular, 0o644, layer);
    }
    serde_json::json!({"Config": config_name, "RepoTags": [name], "Layers": files})
}

fn programs(busybox: &Path) -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
        add(&mut layer, &format!("{folder}/"), tar::EntryType::Directory, 0o755, &[]);
    }
    add(&mut layer, "bin/busybox", tar::EntryType::Regular, 0o755, &std::fs::read(busybox).unwrap());
    for program in PROGRAMS {
        link(&mut layer, &format!("bin/{program}"), "busybox");
    }
    add(
        &mut layer,
        "etc/passwd",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:0::/root:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n",
    );
    add(
        &mut layer,
        "etc/group",
        tar::EntryType::Regular,
        0o644,
        b"root:x:0:\nweb:x:1001:\nextra:x:1002:web\n",
    );
    layer.into_inner().unwrap()
}

/// Files that the layer above replaces and removes, and links that would lead out.
fn volume_below() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, text) in [("data/old", "below"), ("data/gone", "below"), ("etc/here", "of the image")] {
        add(&mut layer, path, tar::EntryType::Regular, 0o644, text.as_bytes());
    }
    link(&mut layer, "absolute", "/etc");
    link(&mut layer, "data/upwards", "../../../../etc");
    layer.into_inner().unwrap()
}

fn volume_above() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    add(&mut layer, "data/old", tar::EntryType::Regular, 0o644, b"above");
    add(&mut layer, "data/.wh.gone", tar::EntryType::Regular, 0o644, b"");
    layer.into_inner().unwrap()
}

fn link(layer: &mut tar::Builder<Vec<u8>>, path: &str, target: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_mode(0o777);
    header.set_size(0);
    layer.append_link(&mut header, path, target).unwrap();
}

fn add<W: std::io::Write>(
    to: &mut tar::Builder<W>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    bytes: &[u8],
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(u64::try_from(bytes.len()).unwrap());
    to.append_data(&mut header, path, bytes).unwrap();
}

fn digest(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
