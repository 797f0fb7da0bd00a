//! An image with busybox, as `docker save` writes it.

use std::fs::File;
use std::path::Path;

/// Its name.
pub(crate) const NAME: &str = "test.example/busybox:1";

/// Programs of busybox that the scenarios use.
const PROGRAMS: [&str; 15] = [
    "sh", "cat", "echo", "sleep", "id", "ls", "hostname", "mknod", "dd", "ip", "mount", "mkdir", "pwd",
    "stat", "test",
];

/// Writes the archive.
pub(crate) fn write(busybox: &Path, archive: &Path) {
    let mut layer = tar::Builder::new(Vec::new());
    for folder in ["bin", "etc", "tmp", "proc", "sys", "dev", "root"] {
        add(&mut layer, &format!("{folder}/"), tar::EntryType::Directory, 0o755, &[]);
    }
    add(&mut layer, "bin/busybox", tar::EntryType::Regular, 0o755, &std::fs::read(busybox).unwrap());
    for program in PROGRAMS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{program}"), "busybox").unwrap();
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
    let layer = layer.into_inner().unwrap();
    let digest = digest(&layer);
    let config = serde_json::json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "FROM_IMAGE=1"], "Cmd": ["/bin/sh"], "WorkingDir": "/tmp"},
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{digest}")]},
    })
    .to_string();
    let config_name = format!("{}.json", self::digest(config.as_bytes()));
    let manifest =
        serde_json::json!([{"Config": config_name, "RepoTags": [NAME], "Layers": ["layer.tar"]}]).to_string();
    let mut out = tar::Builder::new(File::create(archive).unwrap());
    add(&mut out, &config_name, tar::EntryType::Regular, 0o644, config.as_bytes());
    add(&mut out, "layer.tar", tar::EntryType::Regular, 0o644, &layer);
    add(&mut out, "manifest.json", tar::EntryType::Regular, 0o644, manifest.as_bytes());
    out.finish().unwrap();
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
