//! A repository with one image of one package, and a lock that pins the bench's tools.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use lepton_builder::arch::Arch;
use lepton_builder::digest::Digest;

use super::mirror::{Answer, Mirror};
use super::tools::{Scripts, packages};

/// One pinned package.
pub(crate) struct Pin {
    /// Path on the mirror, below the archive.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Digest of the file.
    pub sha256: Digest,
}

/// Tool set -> its packages.
fn sets(arch: Arch) -> [(String, &'static [&'static str]); 6] {
    [
        ("go".to_owned(), &["shell", "tools"]),
        ("hardening".to_owned(), &["shell", "tools"]),
        ("image".to_owned(), &["shell", "tools"]),
        ("kernel".to_owned(), &["shell", "tools", "linux-source-6.12"]),
        (format!("musl-{arch}"), &["musl"]),
        ("rust".to_owned(), &["shell", "tools"]),
    ]
}

const FILES: [(&str, &str); 10] = [
    (
        "images/tiny.toml",
        "summary = \"As small as it gets\"\ndefault = true\npackages = [\"base\"]\n\n[disk]\nstate-mib = 8\n\n\
         [budgets]\nkernel-bytes = { x86_64 = 1, aarch64 = 1 }\nuki-bytes = 1\nmemory-at-ready-kib = 1\nready-ms = 1\n",
    ),
    (
        "packages/base/package.toml",
        "summary = \"One file\"\n\n[source]\nkind = \"files\"\n\n[[install]]\nfrom = \"files/data\"\nto = \"/usr/share/data\"\n",
    ),
    ("packages/identity/package.toml", "summary = \"Not in the image\"\n\n[source]\nkind = \"files\"\n"),
    (
        "kernel-config/kernel.toml",
        "source = \"linux-source-6.12\"\nbase = \"allnoconfig\"\nfragments = [\"base\"]\n",
    ),
    (
        "kernel-config/base.config",
        "# Everything runs programs.\nCONFIG_BINFMT_ELF=y\n# CONFIG_MODULES is not set\n",
    ),
    ("kernel-config/hardening-exceptions.toml", "# None.\n"),
    ("builder/tools.toml", "suites = []\n\n[sets]\n"),
    ("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"init\"]\n"),
    ("Cargo.lock", "version = 4\n"),
    ("init/Cargo.toml", "[package]\nname = \"init\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
];

/// Bytes of the one file of the image: more than a small disk holds, and the tools here compress nothing.
pub(crate) const DATA_BYTES: usize = 1 << 20;

/// Writes the repository and puts its packages on the mirror.
pub(crate) fn write(repo: &Path, mirror: &Mirror, scripts: &Scripts) -> BTreeMap<String, Pin> {
    let arch = Arch::host().expect("tests run where builds do");
    for (name, text) in FILES {
        write_file(repo, name, text);
    }
    write_file(repo, &format!("kernel-config/{arch}.config"), "CONFIG_64BIT=y\n");
    write_file(repo, "packages/base/files/data", "x".repeat(DATA_BYTES).as_str());
    let mut pins = BTreeMap::new();
    for (name, bytes) in packages(scripts, arch) {
        let path = format!("pool/{name}_1.0_all.deb");
        let pin = Pin { path: path.clone(), size: bytes.len() as u64, sha256: Digest::of(&bytes) };
        mirror.set(&path, Answer::File(bytes));
        pins.insert(name.to_owned(), pin);
    }
    write_file(repo, "packages.lock", &lock(arch, &pins));
    pins
}

/// Writes one file.
pub(crate) fn write_file(repo: &Path, name: &str, text: &str) {
    let path = repo.join(name);
    fs::create_dir_all(path.parent().expect("it lies in the repository"))
        .expect("a folder of the repository");
    fs::write(path, text).expect("a file of the repository");
}

fn lock(arch: Arch, pins: &BTreeMap<String, Pin>) -> String {
    let mut text = format!("date = 1700000000\n\n[sets.{arch}]\n");
    for (set, packages) in sets(arch) {
        let ids: Vec<String> = packages.iter().map(|name| format!("\"{name}:all\"")).collect();
        writeln!(text, "{set} = [{}]", ids.join(", ")).expect("writing to a string cannot fail");
    }
    // Packages that the bill of materials names and nothing here unpacks.
    let named =
        ["isolinux:all", "syslinux-common:all", "rust-web-src:all", "golang-1.26-src:all"].map(str::to_owned);
    let of_arch = ["musl-dev", "systemd-boot-efi"].map(|name| format!("{name}:{}", arch.debian()));
    for id in named.iter().chain(&of_arch) {
        let sha256 = Digest::of(id.as_bytes());
        write!(
            text,
            "\n[packages.\"{id}\"]\nversion = \"1.0\"\narchive = \"debian\"\npath = \"pool/{id}.deb\"\nsize = 1\n\
             sha256 = \"{sha256}\"\n"
        )
        .expect("writing to a string cannot fail");
    }
    for (name, Pin { path, size, sha256 }) in pins {
        write!(
            text,
            "\n[packages.\"{name}:all\"]\nversion = \"1.0\"\narchive = \"debian\"\npath = \"{path}\"\nsize = {size}\n\
             sha256 = \"{sha256}\"\n"
        )
        .expect("writing to a string cannot fail");
    }
    text
}
