//! The container images that specs start, made here: programs of Kubernetes' module, and busybox, bash, curl and netcat.
//!
//! They have the names that the suite knows them by, on the cluster's registry. Those that specs only start a shell
//! from are busybox, whatever they are called.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use lepton_boot_tests::cluster::self_signed;
use lepton_builder::arch::Arch;
use lepton_builder::digest::Digest;
use lepton_builder::preload::containers::{Placed, file, folder, link, text};
use lepton_builder::preload::{Container, write_layout};

use crate::context::Context;
use crate::peers::TestPrograms;

/// Where the suite has images from: keys of its list of registries, and paths on the cluster's registry.
/// Registries that must not exist, or must not be reached, are left as they are.
const REGISTRIES: [(&str, &str); 2] = [("promoterE2eRegistry", "/e2e-test-images"), ("gcRegistry", "")];
/// The users of agnhost, by the names that specs expect.
const USERS: &str = "root:x:0:0:root:/:/bin/sh\nuser-defined-in-image:x:1000:1000::/:/bin/sh\n";
const GROUPS: &str = "root:x:0:\nuser-defined-in-image:x:1000:\n\
                      group-defined-in-image:x:50000:user-defined-in-image\n";
/// Images that a spec wants a shell of, by their names in the suite, and the users they run as. What `sh` finds is bash:
/// the shell of Debian's busybox forgets environment variables whose names it could not have itself (`data-1`).
const SHELLS: [(&str, &str); 4] = [
    ("busybox:1.37.0-2", ""),
    ("nonroot:1.5", "1234"),
    // The spec that has it prints names of the host by `hostname`; Debian's busybox has glibc, too.
    ("glibc-dns-testing:2.1.1", ""),
    // The spec that has it lets its shell fail.
    ("nginx:1.27.0-2", ""),
];
/// Both versions of agnhost that the suite has.
const AGNHOST: [&str; 2] = ["agnhost:2.66.1", "agnhost:2.55"];
/// What specs call in /bin of agnhost. Its `sh` is bash, too: the shell of busybox finds its own programs before others,
/// and its `nc` has no UDP.
const AGNHOST_BIN: [(&str, &str); 8] = [
    ("bash", "bash"),
    ("cat", "cat"),
    ("echo", "echo"),
    ("false", "false"),
    ("sh", "bash"),
    ("sleep", "sleep"),
    ("sysctl", "sysctl"),
    ("true", "true"),
];
const PAUSE: &str = "pause:3.10.2";
const NO_NEW_PRIVILEGES: &str = "nonewprivs:1.4";

/// The suite's list of registries, for a registry at `address`.
pub(super) fn registries(address: &str) -> String {
    REGISTRIES.iter().map(|(key, path)| format!("{key}: {address}{path}\n")).collect()
}

/// Writes an OCI layout with every image for `arch` into `target`, which is made anew.
pub(super) fn write(
    context: &Context,
    programs: &TestPrograms,
    arch: Arch,
    address: &str,
    target: &Path,
) -> Result<()> {
    let scratch = context.store.scratch("conformance-images")?;
    let write = |containers: &[Container<'_>], to: &Path| {
        write_layout(containers, &context.catalog, arch, &context.toolbox(), to)
            .context("cannot make images of pods")
    };
    let test_images = |name: &str| format!("{address}/e2e-test-images/{name}");
    let pause_name = format!("{address}/{PAUSE}");
    let pause = Container {
        name: &pause_name,
        programs: &[("/pause", &programs.pause)],
        entrypoint: &["/pause"],
        user: "65535:65535",
        ..Container::default()
    };
    let private = scratch.path().join("private");
    write(&[pause], &private)?;
    let agnhost_files = [agnhost_files()?, private_registry(&private)?].concat();
    let name = test_images(NO_NEW_PRIVILEGES);
    let files = [file("/usr/local/bin/nnp", 0o4755, &programs.no_new_privileges)?];
    let no_new_privileges =
        Container { name: &name, files: &files, command: &["nnp"], ..Container::default() };
    let mut containers = vec![pause, no_new_privileges];
    let names = AGNHOST.map(test_images);
    let agnhost = [("/agnhost", programs.agnhost.as_path())];
    for name in &names {
        containers.push(Container {
            name,
            packages: &["busybox", "bash", "curl", "netcat"],
            programs: &agnhost,
            files: &agnhost_files,
            entrypoint: &["/agnhost"],
            command: &["pause"],
            ..Container::default()
        });
    }
    let shells = SHELLS.map(|(name, user)| (test_images(name), user));
    // Programs of busybox and bash lie in /usr/bin; specs call some by other paths.
    let shell_files =
        [link("/bin", "usr/bin")?, link("/sbin", "usr/bin")?, link("/usr/local/bin/sh", "/usr/bin/bash")?];
    for (name, user) in &shells {
        containers.push(Container {
            name,
            packages: &["busybox", "bash"],
            files: &shell_files,
            command: &["sh"],
            user,
            ..Container::default()
        });
    }
    if target.exists() {
        fs::remove_dir_all(target).with_context(|| format!("cannot remove {}", target.display()))?;
    }
    write(&containers, target)
}

fn agnhost_files() -> Result<Vec<Placed>> {
    let users = [text("/etc/passwd", USERS)?, text("/etc/group", GROUPS)?];
    // What it serves HTTPS with: whoever asks there does not check who answers.
    let (certificate, key) = self_signed("localhost")?;
    let keys = [text("/localhost.crt", &certificate)?, text("/localhost.key", &key)?];
    let bin =
        AGNHOST_BIN.map(|(name, program)| link(&format!("/bin/{name}"), &format!("/usr/bin/{program}")));
    let bin = bin.into_iter().collect::<Result<Vec<_>, _>>()?;
    let others = [link("/sbin", "usr/bin")?, link("/agnhost-2", "agnhost")?, folder("/uploads")?];
    Ok([&users[..], &keys, &bin, &others].concat())
}

/// What agnhost's own registry serves as `pause:testing`, to those who have a password: one image of a layout, in
/// folders as that registry wants them.
fn private_registry(layout: &Path) -> Result<Vec<Placed>> {
    const TOP: &str = "/var/registry/pause";
    let blobs = layout.join("blobs/sha256");
    let place = |kind: &str, digest: &str| format!("{TOP}/{kind}/sha256/{}/{digest}/data", &digest[..2]);
    let index = fs::read(layout.join("index.json")).context("cannot read an index")?;
    let index: serde_json::Value = serde_json::from_slice(&index).context("cannot understand an index")?;
    let manifest = index["manifests"][0]["digest"].as_str().and_then(|digest| digest.strip_prefix("sha256:"));
    let manifest: Digest = manifest.unwrap_or_default().parse().context("an index without an image")?;
    let manifest = manifest.to_string();
    let mut files = vec![text(&format!("{TOP}/manifests/testing"), &format!("sha256:{manifest}\n"))?];
    for entry in walkdir::WalkDir::new(&blobs).min_depth(1).sort_by_file_name() {
        let entry = entry.context("cannot list a layout")?;
        let digest = entry.file_name().to_string_lossy();
        let kind = if *digest == *manifest { "manifests" } else { "blobs" };
        files.push(file(&place(kind, &digest), 0o644, entry.path())?);
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_private_registry_has_the_folders_that_agnhost_looks_into() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let put = |bytes: &[u8]| {
            let digest = Digest::of(bytes).to_string();
            fs::write(blobs.join(&digest), bytes).unwrap();
            digest
        };
        let (manifest, layer) = (put(b"{}"), put(b"layer"));
        let index = format!("{{\"manifests\":[{{\"digest\":\"sha256:{manifest}\"}}]}}");
        fs::write(dir.path().join("index.json"), index).unwrap();
        let files = private_registry(dir.path()).unwrap();
        let mut paths: Vec<String> = files.iter().map(|(path, _)| path.to_string()).collect();
        paths.sort();
        let mut wanted = vec![
            format!("/var/registry/pause/blobs/sha256/{}/{layer}/data", &layer[..2]),
            format!("/var/registry/pause/manifests/sha256/{}/{manifest}/data", &manifest[..2]),
            "/var/registry/pause/manifests/testing".to_owned(),
        ];
        wanted.sort();
        assert_eq!(paths, wanted);
    }

    #[test]
    fn registries_are_those_of_the_suite() {
        assert_eq!(
            registries("192.0.2.1:5000"),
            "promoterE2eRegistry: 192.0.2.1:5000/e2e-test-images\ngcRegistry: 192.0.2.1:5000\n"
        );
    }
}
