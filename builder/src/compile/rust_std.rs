//! Compiles Rust's standard library for musl once, as a sysroot that ordinary builds use.
//!
//! Debian ships no standard library for musl, but it ships the sources with their vendored crates.
//! It is built with `panic=abort` and without backtraces, as every guest program is: then nothing of
//! an unwinder is referenced, and the archive that std names for it may be empty.

use std::fs;
use std::path::Path;

use super::{CompileError, file_error};
use crate::arch::Arch;
use crate::digest::{Digest, KeyBuilder};
use crate::store::Output;
use crate::tools::{ToolTree, Toolbox};

/// Raised when this file builds differently from the same inputs.
const RECIPE: &str = "rust-std-3";
/// Where Debian puts the sources' vendored crates.
const VENDOR: &str = "/usr/lib/rustlib/src/rust/library/vendor";
/// musl's objects that rustc links into every static program.
const MUSL_OBJECTS: [&str; 6] = ["crt1.o", "rcrt1.o", "Scrt1.o", "crti.o", "crtn.o", "libc.a"];
/// gcc's start and end objects.
const GCC_OBJECTS: [&str; 4] = ["crtbegin.o", "crtbeginS.o", "crtend.o", "crtendS.o"];
/// An archive without members (ar(5)): std names these libraries, musl has their contents in libc.a,
/// and nothing refers to an unwinder.
const EMPTY_ARCHIVE: &[u8] = b"!<arch>\n";
const EMPTY_LIBRARIES: [&str; 3] = ["libunwind.a", "libpthread.a", "libdl.a"];

/// The tool set with musl for `arch`.
pub(super) fn musl_set(arch: Arch) -> String {
    format!("musl-{arch}")
}

/// Where Debian puts gcc's own files for `arch` on a machine of `host`.
pub(super) fn gcc_folder(arch: Arch, host: Arch) -> String {
    let family = if arch == host { "gcc" } else { "gcc-cross" };
    format!("/usr/lib/{family}/{}/14", arch.gnu_triplet())
}

/// Debian packages whose code the sysroot links into every program.
pub(crate) fn sources(arch: Arch) -> [String; 2] {
    [format!("musl-dev:{}", arch.debian()), "rust-web-src:all".to_owned()]
}

/// The sysroot for `arch`, from the store when it is there.
pub(super) fn sysroot(arch: Arch, toolbox: &Toolbox<'_>) -> Result<Output, CompileError> {
    let key = key(arch, toolbox)?;
    if let Some(output) = toolbox.store.output(key)? {
        return Ok(output);
    }
    let _lock = toolbox.store.lock(&format!("rust-std-{key}"))?;
    if let Some(output) = toolbox.store.output(key)? {
        return Ok(output);
    }
    let rust = toolbox.tree("rust")?;
    let musl = toolbox.tree(&musl_set(arch))?;
    let work = toolbox.store.scratch("rust-std")?;
    compile(arch, toolbox, &rust, work.path())?;
    let result = toolbox.store.scratch("sysroot")?;
    collect(arch, toolbox, &rust, &musl, work.path(), result.path())?;
    Ok(toolbox.store.add_output(result, key)?)
}

/// What the sysroot depends on.
pub(super) fn key(arch: Arch, toolbox: &Toolbox<'_>) -> Result<Digest, CompileError> {
    let (rust, musl) = (toolbox.key("rust")?, toolbox.key(&musl_set(arch))?);
    Ok(KeyBuilder::new(RECIPE)
        .with("target", arch.musl_target())
        .with_digest("rust", rust)
        .with_digest("musl", musl)
        .finish())
}

fn compile(arch: Arch, toolbox: &Toolbox<'_>, rust: &ToolTree, work: &Path) -> Result<(), CompileError> {
    // An empty crate: only the libraries that are built for it are wanted.
    let manifest = "[package]\nname = \"seed\"\nedition = \"2024\"\n\n\
                    [profile.release]\nopt-level = \"s\"\nlto = \"off\"\ncodegen-units = 1\npanic = \"abort\"\n";
    write(work, "seed/Cargo.toml", manifest.as_bytes())?;
    write(work, "seed/src/lib.rs", b"#![no_std]\n")?;
    let step = toolbox.progress.step(&format!("Rust library for {arch}"), None);
    rust.program("cargo")
        .writable(work, "/work")
        .cwd("/work/seed")
        // -Z options are unstable; the compiler is pinned, so they cannot change under us.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_HOME", "/work/cargo")
        .env("CARGO_TARGET_DIR", "/work/target")
        // Nobody unwinds, so tables for it would be a sixth of a program for nothing.
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Cforce-unwind-tables=no")
        .args([
            "build",
            "--release",
            "--offline",
            "-Zbuild-std=std,panic_abort",
            "-Zbuild-std-features=optimize_for_size",
        ])
        .args(["--config", "source.crates-io.replace-with=\"vendored\""])
        .args(["--config", &format!("source.vendored.directory=\"{VENDOR}\"")])
        .args(["--target", arch.musl_target()])
        .run(|_| step.advance(1))?;
    step.finish();
    Ok(())
}

fn collect(
    arch: Arch,
    toolbox: &Toolbox<'_>,
    rust: &ToolTree,
    musl: &ToolTree,
    work: &Path,
    result: &Path,
) -> Result<(), CompileError> {
    let target = arch.musl_target();
    let libraries = result.join("lib/rustlib").join(target).join("lib");
    let objects = libraries.join("self-contained");
    fs::create_dir_all(&objects).map_err(file_error("make", &objects))?;
    let built = work.join("target").join(target).join("release/deps");
    for entry in walkdir::WalkDir::new(&built).sort_by_file_name().into_iter().flatten() {
        let name = entry.file_name().to_string_lossy();
        if name.ends_with(".rlib") && !name.starts_with("libseed-") {
            copy(entry.path(), &libraries.join(&*name))?;
        }
    }
    let musl_dir = musl.root().join("usr/lib").join(arch.musl_triplet());
    for name in MUSL_OBJECTS {
        copy(&musl_dir.join(name), &objects.join(name))?;
    }
    let gcc_dir = rust.root().join(&gcc_folder(arch, toolbox.host)[1..]);
    for name in GCC_OBJECTS {
        copy(&gcc_dir.join(name), &objects.join(name))?;
    }
    for name in EMPTY_LIBRARIES {
        let path = objects.join(name);
        fs::write(&path, EMPTY_ARCHIVE).map_err(file_error("write", &path))?;
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), CompileError> {
    fs::copy(from, to).map(drop).map_err(file_error("copy", from))
}

fn write(work: &Path, name: &str, bytes: &[u8]) -> Result<(), CompileError> {
    let path = work.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(file_error("make", parent))?;
    }
    fs::write(&path, bytes).map_err(file_error("write", &path))
}
